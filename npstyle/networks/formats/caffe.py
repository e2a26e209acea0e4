"""Read Caffe's networks (.caffemodel): the protocol buffer NetParameter, without a schema compiler.

A message is a sequence of fields. Each has a number and one of four wire types (0: a varint, 1:
eight bytes, 2: a length and that many bytes, 5: four bytes). These fields of NetParameter are read:

    layers (2)  V1LayerParameter: name (4), blobs (6)      old files, such as VGG's
    layer (100) LayerParameter:   name (1), blobs (7)
    blob        BlobProto: num, channels, height, width (1-4) or shape (7) with dim (1), data (5)

Blobs are (out, in, height, width). The network expects BGR, 0..255, minus ImageNet's mean colour.

Format: the protocol buffers' encoding guide, and Caffe's `src/caffe/proto/caffe.proto`.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, Found

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5

MAX_LAYERS = 10_000
"""Number of fields of a network beyond which a file is refused."""

Value = int | memoryview


class _DamagedError(Exception):
    """The bytes are not a valid message."""


def is_caffe(start: bytes) -> bool:
    """Return whether a file may be a NetParameter: it begins with its name or a layer."""
    return start[:1] == b"\x0a" or start[:1] == b"\x12" or start[:2] == b"\xa2\x06"


def read_caffe(source: Path) -> Found:
    """Read a Caffe file.

    Raises
    ------
    InputError
        If it is damaged.
    """
    kernels, biases = {}, {}
    try:
        for name, blobs in _layers(memoryview(np.memmap(source, np.uint8, "r").data)):
            if re.fullmatch(r"conv\d_\d", name):
                if len(blobs) != 2:
                    raise InputError(
                        f"{source}: layer {name} has {len(blobs)} blobs, but a convolution has 2, "
                        "the kernel and the bias; the file is damaged, download it again"
                    )
                kernels[name] = _array(source, name, blobs[0])
                biases[name] = _array(source, name, blobs[1]).reshape(-1)
    except _DamagedError as error:
        raise InputError(
            f"{source}: the Caffe network is damaged or truncated ({error}); download it again"
        ) from error
    return Found(kernels, biases, CAFFE, "Simonyan and Zisserman (Caffe)", OXFORD_LICENSE)


def _layers(whole: memoryview) -> Iterator[tuple[str, list[memoryview]]]:
    """Yield the name and the blobs of each layer."""
    for count, (number, value) in enumerate(_fields(whole)):
        if count > MAX_LAYERS:
            raise _DamagedError("it has too many layers")
        if number in (2, 100) and isinstance(value, memoryview):
            name_field, blob_field = (4, 6) if number == 2 else (1, 7)
            name, blobs = "", []
            for inner, part in _fields(value):
                if inner == name_field and isinstance(part, memoryview):
                    name = bytes(part[:100]).decode("utf-8", "replace")
                elif inner == blob_field and isinstance(part, memoryview):
                    blobs.append(part)
            yield name, blobs


def _array(source: Path, layer: str, blob: memoryview) -> Array:
    """Return a blob as an array."""
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}
    shape: list[int] | None = None
    data: memoryview | None = None
    for number, value in _fields(blob):
        if isinstance(value, int) and number in legacy:
            legacy[number] = value
        elif isinstance(value, memoryview) and number == 7:
            shape = _dims(value)
        elif isinstance(value, memoryview) and number == 5:
            data = value
    if shape is None:
        shape = list(legacy.values())
    size = math.prod(shape)
    if data is None or len(data) != 4 * size or size == 0:
        raise InputError(
            f"{source}: a blob of layer {layer} declares the shape {tuple(shape)} but contains "
            f"{0 if data is None else len(data)} bytes; the file is damaged, download it again"
        )
    return np.frombuffer(data, "<f4").reshape(shape).copy()


def _dims(message: memoryview) -> list[int]:
    """Return the sizes in a BlobShape, packed or not."""
    dims: list[int] = []
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            dims.append(value)
        elif number == 1 and isinstance(value, memoryview):
            position = 0
            while position < len(value) and len(dims) <= 8:
                size, position = _varint(value, position)
                dims.append(size)
    if not 1 <= len(dims) <= 8:
        raise _DamagedError("a blob has fewer than 1 or more than 8 dimensions")
    return dims


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == BYTES:
            size, position = _varint(message, position)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if wire == EIGHT_BYTES else 4
        else:
            raise _DamagedError(f"a field has wire type {wire}")
        if number == 0 or position + size > len(message):
            raise _DamagedError("a field extends beyond its message")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer stored seven bits per byte, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _DamagedError("an integer does not end")
