"""Write pictures: arrays to files, with the settings of the run in their metadata."""

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
QUALITY = 95


def check_output(path: str | Path) -> None:
    """Raise the InputError of `save_image` for this path, before the work that makes its picture.

    The suffix must be one of `WRITABLE`, the path no folder, and its folder there and writable.
    """
    check_destination(Path(path), WRITABLE)


def save_image(path: str | Path, pixels: Array, settings: dict[str, Any] | None = None) -> None:
    """Write a picture, whole or not at all: PNG, JPEG, WebP, or TIFF with 16 bits per channel.

    Parameters
    ----------
    path : str or Path
        Its suffix decides the format.
    pixels : array (height, width, 3), RGB, 0..255
        Rounded to the nearest value the format has.
    settings : dict, optional
        Put into the file's metadata as JSON; `read_settings` reads it back.

    Raises
    ------
    InputError
        If the format is unknown, the array is no picture, or the file cannot be written.
    """
    path = Path(path)
    check_output(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or np.isnan(pixels).any():
        raise InputError(f"{path}: pixels must be (height, width, 3) numbers, none of them NaN")
    text = json.dumps(settings) if settings is not None else None
    try:
        data = _encode(path.suffix.lower(), np.clip(pixels, 0, 255).astype(np.float64), text)
    except (OSError, ValueError) as error:  # sides or metadata beyond what the format can hold
        raise InputError(
            f"{path}: cannot be written as {path.suffix} ({error}); use .png or .tif"
        ) from error
    with written_whole(path) as file:
        file.write(data)


def _encode(suffix: str, pixels: Array, text: str | None) -> bytes:
    """The bytes of the file, with the settings' text in its metadata."""
    software = f"npstyle {__version__}"
    buffer = io.BytesIO()
    if suffix in (".tif", ".tiff"):
        deep = np.round(pixels * 257).astype(np.uint16)
        tifffile.imwrite(
            buffer,
            deep,
            photometric="rgb",
            compression="zlib",
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
