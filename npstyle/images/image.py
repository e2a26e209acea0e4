"""Files and arrays: reading and writing pictures, colour, size, and what the network is fed.

A picture is an array (height, width, 3), RGB, float64, 0..255, in the sRGB colour space.

The network's input is an affine function of the pixels x: with the channels in the network's
order, and its mean m and scale s,

    z = (x - m) s          dL/dx = s dL/dz

(the derivative's channels brought back to RGB order).
"""

import io
import json
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.version import __version__

Array = NDArray[Any]
Pixels = NDArray[np.float64]

READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
QUALITY = 95
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


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width, at least 1, with the longest side `size`; InputError if that is below 1."""
    if size < 1:
        raise InputError(f"size {size}: the longest side must be 1 pixel or more")
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def resize(pixels: Array, size: int | tuple[int, int]) -> Pixels:
    """Scale a picture by Lanczos' windowed sinc, in float, channel by channel.

    Parameters
    ----------
    pixels : array (height, width, channels), 0..255
    size : int or (height, width)
        The longest side of the result, or both its sides.

    Returns
    -------
    float64 array (height, width, channels), 0..255
        Clipped to the range, since Lanczos overshoots at edges.

    Raises
    ------
    InputError
        If a longest side less than 1 is asked for.
    """
    if isinstance(size, int):
        size = fit_size(pixels.shape[0], pixels.shape[1], size)
    if pixels.shape[:2] == size:
        return np.clip(np.asarray(pixels, np.float64), 0, 255)
    scaled = np.empty((*size, pixels.shape[2]))
    for c in range(pixels.shape[2]):
        channel = Image.fromarray(np.ascontiguousarray(pixels[..., c], np.float32))
        resized = channel.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        np.clip(np.asarray(resized), 0, 255, out=scaled[..., c])
    return scaled


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
    fed = np.empty(pixels.shape, dtype)
    for channel in range(3):  # one after another: the differences are float64
        fed[..., channel] = (ordered[..., channel] - mean[channel]) * scale[channel]
    return fed


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
    scaled = np.empty(gradient.shape)
    for channel in range(3):
        np.multiply(gradient[..., channel], scale[channel], out=scaled[..., channel], dtype=float)
    return scaled[..., ::-1] if channel_order == "BGR" else scaled
