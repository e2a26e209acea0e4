"""Feed mutated pictures to the reader: none may crash, hang, or take much memory.

For each format, the tool writes a small picture with EXIF, a colour profile and, where the format
has it, transparency. Then it makes thousands of copies in which bytes are changed, removed,
repeated or replaced by misleading numbers. For each of them the reader must return a picture or
raise InputError. Each format is read in a process of its own, whose memory is measured. If the
reader fails in another way, the file is kept as fuzz-FORMAT-NUMBER.dat.

    python tools/fuzz_pictures.py --count 10000

Pillow's limit of pixels is lowered, because every format can announce a large picture in a small
file; a run counts the memory for that before it reads one.
"""

import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fuzzing import fuzz_formats, mutate, read_all

from npstyle.errors import InputError, InputWarning
from npstyle.images.read import image_size, load_image, read_settings
from tests.images import files

MOST_PIXELS = 500_000
"""Half of the pixels from which Pillow refuses a picture."""

FORMATS = list(files.WRITERS)


def fuzz(name: str, count: int, seed: int) -> dict[str, Any]:
    """Read `count` mutations of one format; raise any error other than InputError."""
    rng = np.random.default_rng((seed, FORMATS.index(name)))
    warnings.simplefilter("ignore", InputWarning)
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with tempfile.TemporaryDirectory() as folder:
        source = files.WRITERS[name](Path(folder))
        data = source.read_bytes()
        load_image(source)  # modules loaded now do not count as memory of a mutation

        def read() -> None:
            size = image_size(source)
            pixels = load_image(source)
            assert pixels.shape == (*size, 3), f"{pixels.shape} in place of {size}"
            assert np.isfinite(pixels).all()
            with suppress(InputError):  # a picture without settings is a picture
                read_settings(source)

        mutations = (mutate(rng, data) for _ in range(count))
        return read_all(mutations, lambda mutated: _write(source, mutated), read, name)


def _write(source: Path, mutated: bytes) -> None:
    source.write_bytes(mutated)


if __name__ == "__main__":
    fuzz_formats(fuzz, FORMATS, __doc__)
