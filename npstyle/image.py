"""Files and arrays: reading and writing pictures, colour, size, and what the network is fed.

A picture is an array (height, width, 3), RGB, float64, 0..255, in the sRGB colour space.

The network's input is an affine function of the pixels x: with the channels in the network's
order, and its mean m and scale s,

    z = (x - m) s          dL/dx = s dL/dz

(the derivative's channels brought back to RGB order).
"""

import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    ImageOps,
    PngImagePlugin,
    UnidentifiedImageError,
)

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.version import __version__

Array = NDArray[Any]
Pixels = NDArray[np.float64]

READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
QUALITY = 95
SETTINGS_KEY = "npstyle"
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, EOFError)
"""What Pillow raises on files that are no pictures, or damaged ones."""


def load_image(path: str | Path, size: int | None = None) -> Pixels:
    """Read a picture: JPEG, PNG, WebP, TIFF or BMP.

    The EXIF orientation is applied; greyscale, palette, 16 bits per channel, CMYK and embedded
    colour profiles are brought to sRGB, and what is transparent shows white.

    Parameters
    ----------
    path : str or Path
    size : int, optional
        Longest side to scale to, in pixels.

    Returns
    -------
    float64 array (height, width, 3), 0..255

    Raises
    ------
    InputError
        If the file is missing, no picture, damaged, or has more pixels than Pillow deems safe.
    """
    path = Path(path)
    with _opened(path) as image:
        pixels = _to_srgb(ImageOps.exif_transpose(image), path)
    if size is None:
        return pixels
    return resize(pixels, fit_size(pixels.shape[0], pixels.shape[1], size))


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


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever Pillow raises on it inside becomes one sentence."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a picture in it")
    if not path.exists():
        raise InputError(f"{path}: there is no such picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=READABLE) as image:
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is no JPEG, PNG, WebP, TIFF or BMP picture") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: the picture is damaged or cannot be read ({error})") from error


def _to_srgb(image: Image.Image, path: Path) -> Pixels:
    """Pixels of any Pillow picture, over white, in sRGB."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
        if image.mode == "F" and not np.all(np.isfinite(values)):
            raise InputError(f"{path}: holds NaN or infinity; save it as an 8 or 16 bit picture")
        # Greyscale of 16 bits: 0..65535. A float picture says nothing of its range.
        if image.mode == "F":
            raise InputError(f"{path}: holds float pixels; save it as an 8 or 16 bit picture")
        return np.repeat(np.clip(values / 257, 0, 255)[..., None], 3, axis=2)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if image.mode in ("1", "P", "PA", "RGBA", "YCbCr", "HSV"):
        image = image.convert("RGB")
    if profile:
        image = _through_profile(image, profile, path)
    pixels = np.asarray(image.convert("RGB"), np.float64)
    if alpha is not None:
        opacity = np.asarray(alpha, np.float64)[..., None] / 255
        pixels = opacity * pixels + (1 - opacity) * 255
    return pixels


def _through_profile(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Bring a picture from its embedded profile to sRGB."""
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"{path}: its colour profile cannot be used ({error}); taken as sRGB", stacklevel=2
        )
        return image
    assert converted is not None
    return converted


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the longest side `size` and the same aspect, at least 1."""
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def resize(pixels: Array, size: tuple[int, int]) -> Pixels:
    """Scale a picture by Lanczos' windowed sinc, in float, channel by channel.

    Parameters
    ----------
    pixels : array (height, width, 3), 0..255
    size : (height, width)
        Of the result.

    Returns
    -------
    float64 array (height, width, 3), 0..255
        Clipped to the range, since Lanczos overshoots at edges.
    """
    if pixels.shape[:2] == size:
        return np.asarray(pixels, np.float64)
    channels = [
        Image.fromarray(np.ascontiguousarray(pixels[..., c], np.float32)).resize(
            (size[1], size[0]), Image.Resampling.LANCZOS
        )
        for c in range(3)
    ]
    scaled = np.stack([np.asarray(channel, np.float64) for channel in channels], axis=2)
    return np.clip(scaled, 0, 255)


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
        If the format is unknown or the file cannot be written.
    """
    path = Path(path)
    check_destination(path, WRITABLE)
    data = _encode(path.suffix.lower(), np.clip(pixels, 0, 255), settings)
    with written_whole(path) as file:
        file.write(data)


def _encode(suffix: str, pixels: Array, settings: dict[str, Any] | None) -> bytes:
    """The bytes of the file."""
    text = json.dumps(settings) if settings is not None else None
    software = f"npstyle {__version__}"
    buffer = io.BytesIO()
    if suffix in (".tif", ".tiff"):
        deep = np.round(pixels * 257).astype(np.uint16)
        tifffile.imwrite(
            buffer, deep, photometric="rgb", software=software, description=text, metadata=None
        )
        return buffer.getvalue()
    image = Image.fromarray(np.round(pixels).astype(np.uint8))
    if suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
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


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read back the settings that `save_image` put into a picture.

    Raises
    ------
    InputError
        If the file is no picture, or carries no settings of npstyle.
    """
    path = Path(path)
    with _opened(path) as image:
        found = image.info.get(SETTINGS_KEY)
        text = found or image.getexif().get(ExifTags.Base.ImageDescription) or ""
    try:
        settings = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: carries no settings; only pictures written by npstyle do")
    return settings


def preprocess(
    pixels: Array,
    channel_order: str,
    mean: Sequence[float],
    scale: Sequence[float],
    dtype: DTypeLike,
) -> Array:
    """What the network is fed, z = (x - m) s.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
    channel_order : "RGB" or "BGR"
        Of the network.
    mean, scale : three numbers, in the network's order
    dtype : float dtype of the result

    Returns
    -------
    array (height, width, 3), in the network's channel order
    """
    ordered = pixels[..., ::-1] if channel_order == "BGR" else pixels
    return np.ascontiguousarray((ordered - np.array(mean)) * np.array(scale), dtype)


def preprocess_backward(gradient: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """Derivative of `preprocess` with respect to the pixels, dL/dx = s dL/dz.

    Parameters
    ----------
    gradient : array (height, width, 3), in the network's channel order
        dL/dz.
    channel_order, scale
        As in `preprocess`.

    Returns
    -------
    array (height, width, 3), RGB
    """
    scaled = gradient * np.array(scale)
    return scaled[..., ::-1] if channel_order == "BGR" else scaled
