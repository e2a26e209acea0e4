"""Convert published feed-forward style networks to npstyle's `.npz`.

The first bytes of a file decide its format, and the names of its tensors whether they are those of
a style network.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.maths.array import Array
from npstyle.maths.layers import Sigmoid
from npstyle.networks.formats.fast_neural_style import find_style_network, is_fast_neural_style
from npstyle.networks.formats.found import UNKNOWN_LICENSE, FoundNetwork
from npstyle.networks.formats.onnx import read_style_onnx
from npstyle.networks.formats.onnx_graph import is_onnx
from npstyle.networks.formats.tensor_file import has_tensors, read_tensors
from npstyle.networks.style_network import StyleNetwork, load_style_network, save_style_network
from npstyle.networks.weights import SUFFIXES

PUBLISHED = {
    "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d": (
        "Magenta's arbitrary image stylization, TensorFlow Hub (Ghiasi et al. 2017)"
    ),
    "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e": (
        "TensorFlow's Android demo of style transfer (Dumoulin et al. 2017)"
    ),
}
"""Origin of known files by their SHA-256; all of them are under the Apache licence 2.0."""

START_BYTES = 64
"""Length in bytes of the start that a format is recognised by."""


def reads_as_style_network(source: Path) -> bool:
    """Whether a file is ONNX, or has tensors with the names of a style network."""
    try:
        start = _start(source)
        if has_tensors(start):
            return read_tensors(source, start, lambda _, names, __: is_fast_neural_style(names))
        return is_onnx(start)
    except InputError:
        return False  # the reader of other weights says why


def convert_style_network(sources: Sequence[Path], destination: Path) -> StyleNetwork:
    """Convert a published style network.

    Parameters
    ----------
    sources : one or two paths
        A network of PyTorch's `fast_neural_style` (.pth or safetensors); or, in ONNX, a network
        with styles of its own, or Magenta's predictor and transformer network in any order.
    destination : Path
        The .npz to write. A failure leaves no partial file.

    Returns
    -------
    StyleNetwork
        Loaded from the new file.

    Raises
    ------
    InputError
        If a source is damaged or is no such network, or the destination cannot be written.
    """
    check_destination(destination, SUFFIXES)
    tensors = [source for source in sources if has_tensors(_start(source))]
    if tensors and len(sources) > 1:
        raise InputError(
            f"{tensors[0]}: contains all of its network; convert it alone, as only two ONNX files "
            "make one network"
        )
    network, packed = _from_tensors(tensors[0]) if tensors else _from_onnx(sources)
    save_style_network(destination, network, packed)
    return load_style_network(destination)


def _start(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error


def _from_tensors(source: Path) -> tuple[StyleNetwork, dict[str, Array]]:
    """Read a network of PyTorch's examples: one style, pixels in and out."""
    found = read_tensors(source, _start(source), find_style_network)
    origin = "PyTorch's fast_neural_style"
    if found.ignored:
        origin += f"; without {len(found.ignored)} running means and variances, which it never used"
    network = StyleNetwork(
        name=source.stem,
        transformer=tuple(found.layers),
        predictor=(),
        code=0,
        channel_order="RGB",
        mean=(0.0,) * 3,
        scale=(1.0,) * 3,
        output_scale=1.0,
        source=f"{source.name} ({origin})",
        license=UNKNOWN_LICENSE,
        source_sha256=_sha256(source),
    )
    return network, _named("transformer", found)


def _from_onnx(sources: Sequence[Path]) -> tuple[StyleNetwork, dict[str, Array]]:
    """Read one network, or two of which one reads the other's code from a painting."""
    found = {source: read_style_onnx(source) for source in sources}
    transformers = {s: f for s, f in found.items() if isinstance(f.layers[-1], Sigmoid)}
    predictors = {s: f for s, f in found.items() if s not in transformers and not f.reads_code}
    if len(transformers) != 1 or len(predictors) != len(sources) - 1:
        raise InputError(
            f"{', '.join(map(str, sources))}: give one network that paints, with the one that "
            "reads a painting if it needs a code: arbitrary_predict.onnx arbitrary_transform.onnx"
        )
    (transformer,), predictor = transformers.values(), next(iter(predictors.values()), None)
    hashes = [_sha256(source) for source in sources]
    known = next((PUBLISHED[sha256] for sha256 in hashes if sha256 in PUBLISHED), None)
    network = StyleNetwork(
        name="any_style" if predictor else "multistyle",
        transformer=tuple(transformer.layers),
        predictor=tuple(predictor.layers) if predictor else (),
        code=0,  # counted by the reader of the file
        channel_order="RGB",
        mean=(0.0,) * 3,
        scale=(1 / 255,) * 3,
        output_scale=255.0,
        source=f"{', '.join(source.name for source in sources)} ({known or 'unknown'})",
        license="Apache-2.0" if known else UNKNOWN_LICENSE,
        source_sha256=", ".join(hashes),
    )
    packed = _named("transformer", transformer)
    if predictor:
        packed |= _named("predictor", predictor)
    return network, packed


def _sha256(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(part: str, found: FoundNetwork) -> dict[str, Array]:
    """The packed arrays of a network by their names in the file."""
    return {f"{part}/{name}": array for name, array in found.packed.items()}
