"""Open picture files: the formats that are read, and the exceptions of damaged files."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from npstyle.errors import InputError
from npstyle.images import png, tiff

READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""Formats by Pillow's names. TGA and HEIC are recognised here."""

NAMES = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000, PPM or TGA"
"""The formats in messages."""

TGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst")

TGA_FOOTER = b"TRUEVISION-XFILE.\0"
"""The end of a TGA file, version 2. Version 1 has no mark; Pillow would take any bytes for one."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib"),
    *(".gif", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *TGA_SUFFIXES,
)
"""Files of a folder that are taken as pictures."""

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""Brands in the first box of a HEIC file. An AVIF file may name the last two as well."""

AVIF_BRANDS = {b"avif", b"avis"}

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""Exceptions that Pillow, pillow-heif and tifffile raise on damaged pictures."""

# Without a handler, Python prints what these libraries log about damaged files.
for _library in ("PIL", "tifffile", "pillow_heif"):
    logging.getLogger(_library).addHandler(logging.NullHandler())
tiff.silence_libtiff()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture, and turn every exception of a library inside the block into an InputError.

    The libraries' own warnings are not printed; they concern metadata that npstyle does not use.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a picture in it")
        if not path.is_file():
            raise InputError(f"{path}: no such picture; check the name")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; get it again")
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            with _image(path, file) as image:
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: is not a picture that npstyle reads ({NAMES}, with 8 or 16 bits per "
            "channel); convert it"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels; scale it down first") from error
    except UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read ({error}); if it is damaged, get it again"
        ) from error


def _image(path: Path, file: BinaryIO) -> Image.Image:
    """Open a picture; that of a TIFF is its largest."""
    head = file.read(64)
    formats: tuple[str, ...] = READABLE
    if head.startswith(png.SIGNATURE):
        image: Image.Image = Image.open(png.without_long_texts(file), formats=("PNG",))
        png.add_metadata(image, file)
        return image
    if _is_heif(head):
        formats = (_heif(path),)
    elif path.suffix.lower() in TGA_SUFFIXES or _ends_with(file, TGA_FOOTER):
        formats = (*READABLE, "TGA")
    file.seek(0)
    image = Image.open(file, formats=formats)
    if image.format == "TIFF":
        tiff.choose_picture(image, head, path)
    return image


def _is_heif(head: bytes) -> bool:
    """Return whether a file that begins so has a HEVC picture in it."""
    if head[4:8] != b"ftyp":
        return False
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = {head[8:12], *(head[k : k + 4] for k in range(16, end, 4))}
    return bool(brands & HEIF_BRANDS) and not brands & AVIF_BRANDS


def _heif(path: Path) -> str:
    """Prepare Pillow for HEIC; returns its name of the format."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise InputError(
            f"{path}: is a HEIC picture; `pip install 'npstyle[heif]'` adds what reads it, or "
            "convert it to JPEG"
        ) from error
    register_heif_opener()
    return "HEIF"


def _ends_with(file: BinaryIO, end: bytes) -> bool:
    file.seek(0, 2)
    file.seek(max(0, file.tell() - len(end)))
    return file.read() == end
