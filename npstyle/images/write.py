"""Write pictures: arrays to files, with the settings of the run in their metadata."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from npstyle import __version__
from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.images.read import SETTINGS_KEY
from npstyle.maths.array import Array

WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")

LONGEST_SIDES = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
"""Pixels on a side that a format, or the library that writes it, allows at most."""

QUALITY = 95
"""Quality of JPEG and WebP, 0..100."""

BIG_TIFF_BYTES = 1 << 31
"""Bytes of pixels from which a TIFF has 64-bit offsets, without which it ends at 4 GiB."""

EMBEDDED_QUALITY = 85
"""Quality of the JPEG in a page or a notebook, 0..100."""


def check_output(path: str | Path, size: tuple[int, int] | None = None) -> None:
    """Raise InputError if `save_image` cannot write to this path; call it before long work.

    The suffix must be one of `WRITABLE`, and the folder must exist and be writable. A picture of
    this (height, width), if given, must not be larger than the format allows.
    """
    path = Path(path)
    check_destination(path, WRITABLE)
    longest = LONGEST_SIDES.get(path.suffix.lower())
    if size is not None and longest is not None and max(size) > longest:
        raise InputError(
            f"{path}: the picture has {size[1]}x{size[0]} pixels, and {path.suffix} allows "
            f"{longest} on a side; use .png or .tif, or a smaller size"
        )


def save_image(path: str | Path, pixels: Array, settings: dict[str, Any] | None = None) -> None:
    """Write a picture: PNG, JPEG, WebP, or TIFF with 16 bits per channel.

    A failure leaves no partial file and does not change an existing one.

    Parameters
    ----------
    path : str or Path
        Its suffix decides the format.
    pixels : array (height, width, 3), RGB, 0..255
        Clipped to the range and rounded to the nearest value of the format.
    settings : dict, optional
        Written to the metadata as JSON; see `npstyle.images.read.read_settings`.

    Raises
    ------
    InputError
        If the format is unknown, the array is not a picture, or the file cannot be written.
    """
    path = Path(path)
    check_output(path, (pixels.shape[0], pixels.shape[1]) if pixels.ndim == 3 else None)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or np.isnan(pixels).any():
        raise InputError(f"{path}: pixels must be an array (height, width, 3) without NaN")
    text = json.dumps(settings) if settings is not None else None
    try:
        data = _encode(path.suffix.lower(), np.clip(pixels, 0, 255).astype(np.float64), text)
    except (OSError, ValueError) as error:  # too large a size, or too much metadata, for the format
        raise InputError(
            f"{path}: cannot be written as {path.suffix} ({error}); use .png or .tif"
        ) from error
    with written_whole(path) as file:
        file.write(data)


def data_address(pixels: Array, side: int) -> str:
    """Return a picture as an address that contains it ("data:image/jpeg;base64,..."), for HTML.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
        Clipped to the range.
    side : int
        Longest side in pixels; larger pictures are scaled down.
    """
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=EMBEDDED_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _encode(suffix: str, pixels: Array, text: str | None) -> bytes:
    """Return the bytes of the file, with the text of the settings in its metadata."""
    software = f"npstyle {__version__}"
    buffer = io.BytesIO()
    if suffix in (".tif", ".tiff"):
        deep = np.round(pixels * 257).astype(np.uint16)
        tifffile.imwrite(
            buffer,
            deep,
            photometric="rgb",
            compression="zlib",
            bigtiff=deep.nbytes > BIG_TIFF_BYTES,
            software=software,
            description=text,
            metadata=None,
        )
        return buffer.getvalue()
    image = Image.fromarray(np.round(pixels).astype(np.uint8))
    if suffix == ".png":
        chunks = PngInfo()
        chunks.add_text("Software", software)
        if text is not None:
            chunks.add_text(SETTINGS_KEY, text)
        image.save(buffer, "PNG", pnginfo=chunks)
        return buffer.getvalue()
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = software
    if text is not None:
        exif[ExifTags.Base.ImageDescription] = text
    if suffix == ".webp":
        image.save(buffer, "WEBP", quality=QUALITY, exif=exif)
    else:
        image.save(buffer, "JPEG", quality=QUALITY, subsampling=0, exif=exif)
    return buffer.getvalue()
