"""Read pictures, and the settings of npstyle in their metadata.

A picture is a float64 array (height, width, 3), RGB, 0..255, in the sRGB colour space.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags

from npstyle.errors import InputError, InputWarning
from npstyle.images.decode import decode
from npstyle.images.formats import opened
from npstyle.images.header import Size, read_header
from npstyle.images.pixels import Pixels

SETTINGS_KEY = "npstyle"
"""Keyword of the text chunk of a PNG that contains the settings."""

WHITE = 255.0


def load_image(
    path: str | Path, size: int | Size | None = None, *, background: float = WHITE
) -> Pixels:
    """Read a picture: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000, PPM or TGA.

    The EXIF orientation is applied. Greyscale, palette, 16-bit and CMYK pictures and embedded
    colour profiles are converted to sRGB, and transparent pixels are blended with white. Of an
    animation the first frame is read, of several pictures in a TIFF the largest. An `InputWarning`
    says so, and also if an invalid colour profile is ignored. HEIC needs the extra `heif`.

    Parameters
    ----------
    path : str or Path
    size : int or (height, width), optional
        Longest side of the result in pixels, or both sides. The size of the file by default.
    background : float
        The grey, 0..255, that transparent pixels are blended with.

    Returns
    -------
    float64 array (height, width, 3), RGB, 0..255

    Raises
    ------
    InputError
        If the file is missing, damaged, or not a picture with 8 or 16 bits per channel, if it has
        more pixels than Pillow considers safe, or if `size` is less than 1.
    """
    path = Path(path)
    notes: list[str] = []
    with opened(path) as image:
        header = read_header(image)
        upright = np.empty((*header.result_size(size), 3))
        decode(image, path, _as_stored(upright, header.orientation), background, notes)
    for note in notes:
        warnings.warn(f"{path}: {note}", InputWarning, stacklevel=2)
    return upright


def image_size(path: str | Path) -> Size:
    """Return height and width of a picture after its EXIF orientation, without decoding it.

    Raises
    ------
    InputError
        If the file is missing or not a picture, or has more pixels than Pillow considers safe.
    """
    with opened(Path(path)) as image:
        return read_header(image).result_size(None)


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings that `save_image` wrote into a picture.

    Raises
    ------
    InputError
        If the file is not a picture, or has no settings of npstyle, or damaged ones.
    """
    path = Path(path)
    with opened(path) as image:
        text = image.info.get(SETTINGS_KEY)
        exif = image.getexif()
        # Other programs write descriptions, too; tifffile writes JSON.
        if text is None and str(exif.get(ExifTags.Base.Software)).startswith("npstyle "):
            text = exif.get(ExifTags.Base.ImageDescription)
    if text is None:
        raise InputError(
            f"{path}: has no settings in its metadata; use a picture written by npstyle"
        )
    try:
        settings = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise InputError(
            f"{path}: its settings are damaged; use another picture written by npstyle"
        )
    return settings


def _as_stored(upright: Pixels, orientation: int) -> Pixels:
    """Return a view of a picture (height, width, 3) in which its rows lie as in the file."""
    if orientation >= 5:
        upright = upright.transpose(1, 0, 2)
    across = orientation in (2, 3, 7, 8)
    down = orientation in (3, 4, 6, 7)
    return upright[:: -1 if down else 1, :: -1 if across else 1]
