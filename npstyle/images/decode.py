"""Decode pictures: from an opened file to sRGB, strip by strip, so that little memory is needed."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from npstyle.errors import InputError
from npstyle.images import tiff
from npstyle.images.header import shrink_while_decoding
from npstyle.images.pixels import Pixels
from npstyle.images.resize import resize_rows
from npstyle.maths.array import Array

COPIED_ROWS = 1 << 20
"""Pixels that are converted at once where nothing is resized."""

Rows = Callable[[int, int], Array]
"""Returns the rows from one number up to another, (rows, width, 3), RGB, 0..255."""


def decode(
    image: Image.Image, path: Path, out: Pixels, background: float, notes: list[str]
) -> None:
    """Decode a picture into an array, as its rows lie in the file; resize it to the array's size.

    Parameters
    ----------
    image : Image
        Opened, with its header read.
    path : Path
        Its file.
    out : array (rows, columns, 3)
    background : float
        The grey, 0..255, that transparent pixels are blended with.
    notes : list of str
        What the user should know is added to it.

    Raises
    ------
    InputError
        If the pixels are float, or the file does not say what they mean.
    """
    _note_others(image, notes)
    if isinstance(image, TiffImageFile):
        tiff.check_numbers(image, path)
    extent: tuple[float, float] = image.height, image.width
    if tiff.is_plain_deep(image):
        deep = tifffile.imread(path, key=image.tell())
        rows: Rows = lambda top, bottom: deep[top:bottom] / 257  # noqa: E731
    else:
        extent = shrink_while_decoding(image, (out.shape[0], out.shape[1]))
        rows = _rows(image, path, background, notes)
    if out.shape[:2] != extent:
        resize_rows(rows, extent, image.height, out)
        return
    step = max(1, COPIED_ROWS // image.width)
    for top in range(0, image.height, step):
        out[top : top + step] = rows(top, min(top + step, image.height))


def _note_others(image: Image.Image, notes: list[str]) -> None:
    """Note that a file has other pictures, which are not read."""
    try:
        several = getattr(image, "is_animated", False)
    except Exception:  # damage behind the first frame
        return
    if not several or image.format in ("MPO", "HEIF"):
        return  # the others are previews, or measure depth or brightness
    if image.format == "TIFF":
        notes.append("has several pictures; the largest is read")
    else:
        notes.append("is animated; its first frame is read")


def _rows(image: Image.Image, path: Path, background: float, notes: list[str]) -> Rows:
    """Decode a picture; returns what converts its rows to sRGB and blends them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey_rows(image, path, background, notes)
    image.load()
    opaque = not image.has_transparency_data or _is_unused(image)
    grey = image.mode in ("1", "L", "LA")
    convert = _through_profile(image, "L" if grey else _colour_mode(image), notes)

    def rows(top: int, bottom: int) -> Array:
        strip = image.crop((0, top, image.width, bottom))
        opacity = None
        if not opaque:
            strip = strip.convert("LA" if grey else "RGBA")
            opacity = np.asarray(strip.getchannel("A"), np.float64)[..., None] / 255
        if strip.mode != "CMYK":
            strip = strip.convert("L" if grey else "RGB")
        pixels = np.asarray(convert(strip), np.float64)
        if opacity is not None:
            pixels *= opacity
            pixels += (1 - opacity) * background
        return pixels

    return rows


def _colour_mode(image: Image.Image) -> str:
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _is_unused(image: Image.Image) -> bool:
    """Return whether the fourth byte of each pixel is 0 because its program did not use it."""
    if image.format not in ("BMP", "TGA") or image.mode != "RGBA":
        return False
    return image.getchannel("A").getextrema() == (0, 0)


def _deep_grey_rows(image: Image.Image, path: Path, background: float, notes: list[str]) -> Rows:
    """Return the rows of a picture with one channel of more than 8 bits."""
    white = 0
    if isinstance(image, TiffImageFile):
        white = tiff.grey_maximum(image)
    elif image.mode != "F":
        white = 65535
    if not white:
        raise InputError(
            f"{path}: has float, signed or 32-bit pixels; save it as an 8-bit or 16-bit picture"
        )
    # Pillow inverts pictures in which 0 is white if they have 8 bits, but not if they have 16.
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    inverted = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = image.info.get("transparency")
    convert = _through_profile(image, "L", notes) if "icc_profile" in image.info else None
    image.load()

    def rows(top: int, bottom: int) -> Array:
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        grey = values * (255 / white)
        if inverted:
            grey = 255 - grey
        if convert is None:
            pixels = np.repeat(grey[..., None], 3, axis=2)
        else:  # Pillow's colour management supports at most 8 bits
            strip = Image.fromarray(np.round(grey).astype(np.uint8))
            pixels = np.asarray(convert(strip), np.float64)
        if transparent is not None:
            pixels[values == transparent] = background
        return pixels

    return rows


def _through_profile(
    image: Image.Image, mode: str, notes: list[str]
) -> Callable[[Image.Image], Image.Image]:
    """Return what converts strips of this mode from the picture's profile to RGB in sRGB.

    A profile that is not valid, or not for these colours, is ignored and noted.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return lambda strip: strip.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "L" and source.profile.xcolor_space.strip() == "RGB":
            mode = "RGB"
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        notes.append(f"its colour profile is ignored, because it is not valid ({error})")
        return lambda strip: strip.convert("RGB")

    def convert(strip: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(strip.convert(mode), transform)
        assert converted is not None
        return converted

    return convert
