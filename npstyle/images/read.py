"""Read pictures: files to arrays.

A picture is an array (height, width, 3), RGB, float64, 0..255, in the sRGB colour space.
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
SETTINGS_KEY = "npstyle"
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, struct.error, zlib.error)
"""What Pillow and tifffile raise on damaged pictures."""


def load_image(path: str | Path, size: int | None = None) -> Pixels:
    """Read a picture: JPEG, PNG, WebP, TIFF or BMP.

    The EXIF orientation is applied; greyscale, palette, 16 bits per channel, CMYK and embedded
    colour profiles are brought to sRGB, and what is transparent shows white. Of several pictures
    in one file, the first is read. A broken colour profile is taken as sRGB, with a warning.

    Parameters
    ----------
    path : str or Path
    size : int, optional
        Longest side to scale to, in pixels.

    Returns
    -------
    float64 array (height, width, 3), RGB, 0..255

    Raises
    ------
    InputError
        If the file is missing, no picture, damaged, of float pixels, or has more pixels than
        Pillow deems safe, or `size` is less than 1.
    """
    path = Path(path)
    with _opened(path) as image:
        if _is_plain_deep_tiff(image, path):
            pixels = np.asarray(tifffile.imread(path, key=0), np.float64) / 257
        else:
            pixels = _to_srgb(image, path)
    return pixels if size is None else resize(pixels, size)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture, upright, without decoding its pixels.

    Raises
    ------
    InputError
        If the file is missing, no picture, or has more pixels than Pillow deems safe.
    """
    with _opened(Path(path)) as image:
        lies_on_its_side = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        width, height = image.size[::-1] if lies_on_its_side else image.size
    return height, width


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read back the settings that `save_image` put into a picture.

    Raises
    ------
    InputError
        If the file is no picture, or carries no settings of npstyle, or damaged ones.
    """
    path = Path(path)
    with _opened(path) as image:
        text = image.info.get(SETTINGS_KEY)
        exif = image.getexif()
        # Other programs describe pictures too, tifffile for one in JSON.
        if text is None and str(exif.get(ExifTags.Base.Software)).startswith("npstyle "):
            text = exif.get(ExifTags.Base.ImageDescription)
    if text is None:
        raise InputError(f"{path}: carries no settings; name a picture that npstyle wrote with its")
    try:
        settings = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: its settings are damaged; name another picture by npstyle")
    return settings


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever Pillow raises on it inside becomes one sentence."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a picture in it")
        if not path.is_file():
            raise InputError(f"{path}: there is no such picture; check the name")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=READABLE) as image:
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: is no JPEG, PNG, WebP, TIFF or BMP picture of 8 or 16 bits; convert it to one"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels; scale it down first") from error
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read ({error}); if the picture is damaged, fetch it again"
        ) from error


def _is_plain_deep_tiff(image: Image.Image, path: Path) -> bool:
    """Whether Pillow would cut 16 bits per channel to 8 and tifffile can read them all.

    What needs more of Pillow (a profile, an orientation, another codec) is read with 8 bits.
    """
    if not isinstance(image, TiffImageFile):
        return False
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ())
    planar = image.tag_v2.get(ExifTags.Base.PlanarConfiguration) == 2
    if planar and 16 in bits and len(bits) > 1 and image.info["compression"] == "raw":
        # Pillow reads these as 8 bits and raises nothing.
        raise InputError(f"{path}: keeps each 16 bit channel apart; save it interleaved or as PNG")
    return (
        (image.mode, bits, planar) == ("RGB", (16, 16, 16), False)
        and image.tag_v2.get(ExifTags.Base.Orientation, 1) == 1
        and image.info["compression"] in ("raw", "tiff_adobe_deflate")
        and "icc_profile" not in image.info
    )


def _to_srgb(image: Image.Image, path: Path) -> Pixels:
    """Pixels of any Pillow picture, upright, over white, in sRGB."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        grey = _deep_grey(image, upright, path)
        if "icc_profile" not in image.info:
            return np.repeat(grey[..., None], 3, axis=2)
        # Pillow's colour management takes no more than 8 bits.
        colors, opacity = Image.fromarray(np.round(grey).astype(np.uint8)), None
    else:
        colors, opacity = _split_opacity(upright)
    if "icc_profile" in image.info:
        colors = _through_profile(colors, image.info["icc_profile"], path)
    pixels = np.asarray(colors.convert("RGB"), np.float64)
    return pixels if opacity is None else opacity * pixels + (1 - opacity) * 255


def _deep_grey(image: Image.Image, upright: Image.Image, path: Path) -> Pixels:
    """Grey values 0..255 (height, width) of a picture with more than 8 bits."""
    values = np.asarray(upright, np.float64)
    # The range 0..65535 is known of 16 bits only; a float picture says nothing of its own.
    if upright.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise InputError(f"{path}: holds float or 32 bit pixels; save it as an 8 or 16 bit picture")
    # Pillow inverts pictures whose 0 is white at 8 bits, and not at 16.
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        values = 65535 - values
    return values / 257


def _split_opacity(image: Image.Image) -> tuple[Image.Image, Pixels | None]:
    """Grey, RGB or CMYK colours, as profiles are made for, and the opacity 0..1 if there is one."""
    grey = image.mode in ("1", "L", "LA")
    opacity = None
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        opacity = np.asarray(image.getchannel("A"), np.float64)[..., None] / 255
    if image.mode == "CMYK":
        return image, opacity
    return image.convert("L" if grey else "RGB"), opacity


def _through_profile(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Bring a picture from its embedded profile to sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
            image = image.convert("RGB")
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"{path}: its colour profile cannot be used ({error}); taken as sRGB", stacklevel=2
        )
        return image
    assert converted is not None
    return converted
