"""Read pictures, and the settings of npstyle in their metadata.

A picture is a float64 array (height, width, 3), RGB, 0..255, in the sRGB colour space.
"""

import io
import json
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from npstyle.errors import InputError
from npstyle.images.pixels import Pixels
from npstyle.images.resize import resize

READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
"""Formats by Pillow's names."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""Files of a folder that are taken as pictures."""

SETTINGS_KEY = "npstyle"
"""Keyword of the text chunk of a PNG that contains the settings."""

_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, struct.error, zlib.error)
"""Exceptions that Pillow and tifffile raise on damaged pictures."""


def load_image(path: str | Path, size: int | None = None) -> Pixels:
    """Read a picture: JPEG, PNG, WebP, TIFF or BMP.

    The EXIF orientation is applied. Greyscale, palette, 16-bit and CMYK pictures and embedded
    colour profiles are converted to sRGB, and transparent pixels are blended with white. If a file
    contains several pictures, the first is read. An invalid colour profile is ignored with a
    warning.

    Parameters
    ----------
    path : str or Path
    size : int, optional
        Longest side of the result in pixels. The size of the file by default.

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
    with _opened(path) as image:
        if _is_plain_deep_tiff(image, path):
            pixels = np.asarray(tifffile.imread(path, key=0), np.float64) / 257
        else:
            pixels = _to_srgb(image, path)
    return pixels if size is None else resize(pixels, size)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return height and width of a picture after its EXIF orientation, without decoding it.

    Raises
    ------
    InputError
        If the file is missing or not a picture, or has more pixels than Pillow considers safe.
    """
    with _opened(Path(path)) as image:
        is_rotated = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        width, height = image.size[::-1] if is_rotated else image.size
    return height, width


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings that `save_image` wrote into a picture.

    Raises
    ------
    InputError
        If the file is not a picture, or has no settings of npstyle, or damaged ones.
    """
    path = Path(path)
    with _opened(path) as image:
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


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture, and turn every exception of Pillow inside the block into an InputError."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a picture in it")
        if not path.is_file():
            raise InputError(f"{path}: no such picture; check the name")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=READABLE) as image:
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: is not a JPEG, PNG, WebP, TIFF or BMP picture with 8 or 16 bits; convert it"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels; scale it down first") from error
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read ({error}); if it is damaged, get it again"
        ) from error


def _is_plain_deep_tiff(image: Image.Image, path: Path) -> bool:
    """Return whether a TIFF has 16 bits per channel that tifffile keeps but Pillow reduces to 8.

    A TIFF with a profile, an orientation or another codec needs Pillow and is read with 8 bits.
    """
    if not isinstance(image, TiffImageFile):
        return False
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ())
    planar = image.tag_v2.get(ExifTags.Base.PlanarConfiguration) == 2
    if planar and 16 in bits and len(bits) > 1 and image.info["compression"] == "raw":
        # Pillow reads these as 8 bits without raising an exception.
        raise InputError(
            f"{path}: stores its 16-bit channels separately; save it interleaved or as PNG"
        )
    return (
        (image.mode, bits, planar) == ("RGB", (16, 16, 16), False)
        and image.tag_v2.get(ExifTags.Base.Orientation, 1) == 1
        and image.info["compression"] in ("raw", "tiff_adobe_deflate")
        and "icc_profile" not in image.info
    )


def _to_srgb(image: Image.Image, path: Path) -> Pixels:
    """Return the pixels of any Pillow picture, upright, blended with white, in sRGB."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        grey = _deep_grey(image, upright, path)
        if "icc_profile" not in image.info:
            return np.repeat(grey[..., None], 3, axis=2)
        # Pillow's colour management supports at most 8 bits.
        colors, opacity = Image.fromarray(np.round(grey).astype(np.uint8)), None
    else:
        colors, opacity = _split_opacity(upright)
    if "icc_profile" in image.info:
        colors = _through_profile(colors, image.info["icc_profile"], path)
    pixels = np.asarray(colors.convert("RGB"), np.float64)
    return pixels if opacity is None else opacity * pixels + (1 - opacity) * 255


def _deep_grey(image: Image.Image, upright: Image.Image, path: Path) -> Pixels:
    """Return the grey values 0..255 (height, width) of a picture with more than 8 bits."""
    values = np.asarray(upright, np.float64)
    # Only 16 bits have a known range, 0..65535. Float pictures do not define one.
    if upright.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"{path}: has float or 32-bit pixels; save it as an 8-bit or 16-bit picture"
        )
    # Pillow inverts pictures in which 0 is white if they have 8 bits, but not if they have 16.
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        values = 65535 - values
    return values / 257


def _split_opacity(image: Image.Image) -> tuple[Image.Image, Pixels | None]:
    """Split a picture into its grey, RGB or CMYK colours and its opacity 0..1, if any."""
    grey = image.mode in ("1", "L", "LA")
    opacity = None
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        opacity = np.asarray(image.getchannel("A"), np.float64)[..., None] / 255
    if image.mode == "CMYK":
        return image, opacity
    return image.convert("L" if grey else "RGB"), opacity


def _through_profile(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Convert a picture from its embedded profile to sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
            image = image.convert("RGB")
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"{path}: its colour profile is ignored, because it is not valid ({error})",
            stacklevel=2,
        )
        return image
    assert converted is not None
    return converted
