"""TIFF files: which of their pictures is read, and what their numbers mean."""

import ctypes
from pathlib import Path

from PIL import ExifTags, Image, _imaging
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from npstyle.errors import InputError

MOST_PAGES = 64
"""Pages that are compared; a preview is among the first."""

DNG_VERSION = 50706
SUB_IFDS = 330
SAMPLE_FORMAT = 339
"""Numbers of tags. The sample format is 1 for numbers from 0, 2 for signed ones, 3 for float."""

SIGNED = 2


def silence_libtiff() -> None:
    """Let libtiff print nothing about damaged files, as Pillow does for its warnings.

    It would print to the standard error of the process, past Python. Pillow raises an exception
    where the damage costs the picture.
    """
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):  # the library is not to be found where Pillow contains it
        return
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    set_handler(None)


def choose_picture(image: Image.Image, head: bytes, path: Path) -> None:
    """Move to the largest picture of a TIFF.

    Parameters
    ----------
    image : Image
        The opened TIFF.
    head : bytes
        The beginning of the file.
    path : Path

    Raises
    ------
    InputError
        If it is the raw file of a camera, whose other pictures are previews.
    """
    assert isinstance(image, TiffImageFile)
    if DNG_VERSION in image.tag_v2 or head[8:10] == b"CR" or _has_larger_inside(image, head):
        raise InputError(
            f"{path}: has its picture behind a preview, as the raw files of cameras do; develop "
            "it, and give the JPEG or TIFF"
        )
    sizes = [image.width * image.height]
    try:
        while len(sizes) < MOST_PAGES:
            image.seek(len(sizes))
            sizes.append(image.width * image.height)
    except (EOFError, SyntaxError, ValueError, TypeError, LookupError, OSError):
        pass  # the end, or a page that Pillow does not read
    image.seek(sizes.index(max(sizes)))
    if Image.MAX_IMAGE_PIXELS is not None and max(sizes) > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError  # Pillow checks the first page only


def _has_larger_inside(image: TiffImageFile, head: bytes) -> bool:
    """Return whether a directory below that of the first picture has a larger one."""
    assert image.fp is not None
    places = image.tag_v2.get(SUB_IFDS, ())
    for place in (places if isinstance(places, tuple) else (places,))[:MOST_PAGES]:
        inner = ImageFileDirectory_v2(head[:16] if head[2] == 43 else head[:8])
        try:
            image.fp.seek(place)
            inner.load(image.fp)
            size = inner.get(ExifTags.Base.ImageWidth, 0) * inner.get(ExifTags.Base.ImageLength, 0)
            if size > image.width * image.height:
                return True
        except (SyntaxError, ValueError, TypeError, LookupError, OSError, OverflowError):
            continue
    return False


def check_numbers(image: TiffImageFile, path: Path) -> None:
    """Raise InputError for pixels that Pillow reads wrongly without an exception."""
    bits = _bits(image)
    if bits == (8,) and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        raise InputError(f"{path}: has signed pixels; save it as an 8-bit or 16-bit picture")
    planar = image.tag_v2.get(ExifTags.Base.PlanarConfiguration) == 2
    if planar and 16 in bits and len(bits) > 1 and image.info["compression"] == "raw":
        raise InputError(
            f"{path}: stores its 16-bit channels separately; save it interleaved or as PNG"
        )


def is_plain_deep(image: Image.Image) -> bool:
    """Return whether a TIFF has 16 bits per channel that tifffile keeps but Pillow reduces to 8.

    A TIFF with a profile, an orientation or another codec needs Pillow and is read with 8 bits.
    """
    return (
        isinstance(image, TiffImageFile)
        and (image.mode, _bits(image)) == ("RGB", (16, 16, 16))
        and image.tag_v2.get(ExifTags.Base.PlanarConfiguration) != 2
        and image.tag_v2.get(ExifTags.Base.Orientation, 1) == 1
        and image.info["compression"] in ("raw", "tiff_adobe_deflate")
        and "icc_profile" not in image.info
    )


def grey_maximum(image: TiffImageFile) -> int:
    """Return the value of white in a TIFF of one deep channel; 0 if the file does not say it."""
    bits = _bits(image)
    signed = image.tag_v2.get(SAMPLE_FORMAT, (1,))[0] != 1
    return 0 if signed or not bits or bits[0] > 16 else 2 ** bits[0] - 1


def _bits(image: TiffImageFile) -> tuple[int, ...]:
    """Return the bits of each channel."""
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ())
    return bits if isinstance(bits, tuple) else (bits,)
