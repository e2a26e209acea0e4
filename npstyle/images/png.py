"""PNG files whose metadata Pillow would refuse, or would find only after decoding the picture."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"

TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Chunks of texts and of the colour profile."""

LONGEST_PROFILE = 64 << 20
"""Bytes of the longest profile that is used."""

Chunk = tuple[bytes, int, int]
"""Type of a chunk, the place of its content in the file, and the content's length."""


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG without reading the picture, up to a damaged one."""
    place = len(SIGNATURE)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length


def without_long_texts(file: BinaryIO) -> BinaryIO:
    """Return a PNG as Pillow accepts it: without texts and profiles of a megabyte or more.

    The picture is not read; the result is a view of the file.
    """
    left_out, total = [], 0
    for kind, place, length in chunks(file):
        if kind not in TEXTS:
            continue
        size = _unpacked_length(file, kind, place, length)
        total += size
        if size >= PngImagePlugin.MAX_TEXT_CHUNK or total >= PngImagePlugin.MAX_TEXT_MEMORY:
            left_out.append((place - 8, place + length + 4))
            total -= size
    file.seek(0)
    return io.BufferedReader(_Parts(file, left_out)) if left_out else file


def add_metadata(image: Image.Image, file: BinaryIO) -> None:
    """Add a long profile, and the EXIF behind the picture, to what Pillow has found before it."""
    place = file.tell()
    for kind, start, length in chunks(file):
        if kind == b"eXIf" and "exif" not in image.info:
            image.info["exif"] = b"Exif\0\0" + _content(file, start, length)
        if kind == b"iCCP" and "icc_profile" not in image.info:
            unpack = zlib.decompressobj()
            packed = _content(file, start, length).partition(b"\0")[2][1:]
            image.info["icc_profile"] = unpack.decompress(packed, LONGEST_PROFILE)
    if "Raw profile type exif" not in image.info:
        # Without this entry Pillow decodes the picture to look for EXIF behind it.
        image.info.setdefault("exif", b"")
    file.seek(place)


def _content(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(min(length, LONGEST_PROFILE))


def _unpacked_length(file: BinaryIO, kind: bytes, place: int, length: int) -> int:
    """Return the length of a text or profile, counted up to Pillow's limit."""
    longest = PngImagePlugin.MAX_TEXT_CHUNK
    if length >= longest:
        return longest
    if kind == b"tEXt":
        return length
    name, _, packed = _content(file, place, length).partition(b"\0")
    if kind == b"iTXt":
        if packed[:1] == b"\0":
            return length
        packed = packed[2:].split(b"\0", 2)[-1]
    else:
        packed = packed[1:]
    unpack = zlib.decompressobj()
    try:
        return len(name) + len(unpack.decompress(packed, longest))
    except zlib.error:
        return length


class _Parts(io.RawIOBase):
    """A file without some of its parts.

    Parameters
    ----------
    file : binary file
    left_out : list of (start, end)
        In ascending order.
    """

    def __init__(self, file: BinaryIO, left_out: list[tuple[int, int]]) -> None:
        self._file, self._place = file, 0
        length = file.seek(0, io.SEEK_END)
        edges = [0, *(min(place, length) for part in left_out for place in part), length]
        self._kept = list(zip(edges[::2], edges[1::2], strict=True))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        length = sum(end - start for start, end in self._kept)
        self._place = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: length}[whence]
        )
        return self._place

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        place = self._place
        for start, end in self._kept:
            if place < end - start:
                self._file.seek(start + place)
                data = self._file.read(min(len(buffer), end - start - place))
                buffer[: len(data)] = data
                self._place += len(data)
                return len(data)
            place -= end - start
        return 0
