"""MatConvNet's networks: `imagenet-vgg-verydeep-19.mat`, a MATLAB file of version 5.

`layers` is a list of structures with name, type and weights = {filters, biases} (in old files two
fields of these names). Filters are (kernel height, kernel width, in, out): MatConvNet's importer
turns Caffe's (out, in, height, width) around and swaps height and width, and swaps the colours of
the first layer, so the input is RGB, 0..255, less `averageImage`.

SciPy reads the file. Before, its skeleton is walked over here, because SciPy takes the memory that
a file declares: what is declared must be in the file.

Format: MathWorks, "MAT-File Format", Level 5; MatConvNet's `utils/import-caffe.py`.
"""

import math
import re
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.formats.found import OXFORD_LICENSE, Found, Preparation
from npstyle.networks.weights import MAX_RATIO

Array = NDArray[Any]

MAT_SIGNATURE = b"MATLAB 5.0 MAT-file"
MAT_HDF5_SIGNATURE = b"MATLAB 7.3 MAT-file"

SLACK = 1 << 20
"""What a file may declare beyond that: the small ones compress better."""

MAX_ARRAYS = 50_000
"""MatConvNet's VGG has about 2300, most of them the names of ImageNet's classes."""

MAX_DEPTH = 12

ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Bytes of a number by its type in the file: miINT8 ... miUTF32."""

CHAR_BYTES, NUMBER_BYTES = 4, 8
"""What a character and, at most, a number take in memory."""

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR, DOUBLE, UINT64 = 1, 2, 4, 6, 15
"""Classes of arrays; DOUBLE to UINT64 are the numeric ones."""


def read_matconvnet(source: Path) -> Found:
    """Read a MatConvNet file.

    Raises
    ------
    InputError
        If it is damaged, or holds no VGG.
    """
    from scipy.io import loadmat

    try:
        with source.open("rb") as file:
            _Walk(file, source.stat().st_size).file()
        held = loadmat(
            source,
            simplify_cells=True,
            variable_names=["layers", "normalization", "meta", "net"],
        )
    except _DamagedError as error:
        raise InputError(
            f"{source}: the MATLAB file is refused, because {error}; download it again"
        ) from error
    except MemoryError as error:
        raise InputError(f"{source}: the MATLAB file needs more memory than there is") from error
    except Exception as error:  # damaged files make SciPy raise nearly anything
        raise InputError(
            f"{source}: the MATLAB file is damaged or truncated ({error}); download it again"
        ) from error
    held = held.get("net", held)
    layers = held.get("layers") if isinstance(held, dict) else None
    if not isinstance(layers, list | np.ndarray):
        raise InputError(f"{source}: is a MATLAB file without MatConvNet's `layers`")
    kernels, biases = {}, {}
    for layer in layers:
        name = layer.get("name") if isinstance(layer, dict) else None
        if isinstance(name, str) and re.fullmatch(r"conv\d_\d", name):
            kernels[name], biases[name] = _convolution(source, name, layer)
    mean = _mean(source, held)
    preparation = Preparation("RGB", mean, (1.0, 1.0, 1.0))
    return Found(kernels, biases, preparation, "MatConvNet", OXFORD_LICENSE)


def _convolution(source: Path, name: str, layer: dict[str, Any]) -> tuple[Array, Array]:
    """Kernel (out, in, height, width) and bias (out,) of one layer."""
    parts = layer.get("weights", [layer.get("filters"), layer.get("biases")])
    kernel, bias = parts if isinstance(parts, list | np.ndarray) and len(parts) == 2 else (0, 0)
    kernel, bias = np.asarray(kernel), np.asarray(bias)
    if kernel.ndim != 4 or kernel.dtype.kind != "f" or bias.dtype.kind != "f":
        raise InputError(
            f"{source}: layer {name} holds filters of shape {kernel.shape} and biases of shape "
            f"{bias.shape}; expected (height, width, in, out) and (out,)"
        )
    return kernel.transpose(3, 2, 0, 1), bias.reshape(-1)


def _mean(source: Path, held: dict[str, Any]) -> tuple[float, ...]:
    """The mean colour, RGB; files that hold a whole average image mean its mean."""
    meta = held.get("meta")
    normalization = (meta if isinstance(meta, dict) else held).get("normalization")
    image = normalization.get("averageImage") if isinstance(normalization, dict) else None
    image = np.asarray(image if image is not None else 0)
    if image.dtype.kind not in "fui" or image.ndim == 0 or image.shape[-1] != 3:
        raise InputError(
            f"{source}: has no averageImage of three colours in `normalization`; "
            "without it the network's input is not known"
        )
    return tuple(float(value) for value in image.reshape(-1, 3).mean(axis=0, dtype=np.float64))


class _DamagedError(Exception):
    """What is wrong with the skeleton."""


class _Walk:
    """Goes over a file's elements, and counts what they declare."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.raw = file
        self.size = size
        self.allowed = MAX_RATIO * size + SLACK
        self.arrays = 0

    def file(self) -> None:
        """Walk over the whole file."""
        header = self.raw.read(128)
        if header[126:128] != b"IM":
            raise _DamagedError("it has no header of a little-endian MATLAB file")
        place = 128
        while place < self.size:
            self.raw.seek(place)
            kind, count, _ = self._tag(self.raw)
            place += 8 + count
            if place > self.size:
                raise _DamagedError("it is truncated")
            if kind == COMPRESSED:
                unpacked = _Unpacked(self.raw, count)
                kind, count, _ = self._tag(unpacked)
                self._array(unpacked, kind, count, 0)
            else:
                self._array(self.raw, kind, count, 0)

    def _array(self, stream: Any, kind: int, count: int, depth: int) -> None:
        """Walk over one array of `count` bytes, whose tag has been read."""
        self.arrays += 1
        if kind != MATRIX or depth > MAX_DEPTH or self.arrays > MAX_ARRAYS:
            raise _DamagedError("it holds what no network has")
        if count == 0:
            return
        flags = self._small(stream, (6,), 8)
        class_, is_complex = flags[0], flags[1] & 8
        dims = np.frombuffer(self._small(stream, (5,), 32), "<i4")
        self._small(stream, (1,), 64)  # the name
        elements = math.prod(int(n) for n in dims)
        if dims.size < 2 or dims.min() < 0:
            raise _DamagedError("an array has no valid size")
        if class_ in (CELL, STRUCT):
            fields = 1
            if class_ == STRUCT:
                length = int.from_bytes(self._small(stream, (5,), 4), "little")
                names = self._small(stream, (1,), 4096)
                if not 1 <= length <= 64 or len(names) % length:
                    raise _DamagedError("a structure's fields have no valid names")
                fields = len(names) // length
            if elements * max(1, fields) > MAX_ARRAYS:
                raise _DamagedError("a list declares more entries than a network has")
            for _ in range(elements * fields):
                inner, size, _ = self._tag(stream)
                self._array(stream, inner, size, depth + 1)
        elif class_ == CHAR or DOUBLE <= class_ <= UINT64:
            for _ in range(2 if is_complex else 1):
                self._numbers(stream, elements, CHAR_BYTES if class_ == CHAR else NUMBER_BYTES)
        else:
            raise _DamagedError(f"it holds an array of class {class_}, which no network has")

    def _numbers(self, stream: Any, elements: int, bytes_each: int) -> None:
        """Step over an array's numbers, which must be as many as its size says."""
        kind, size, small = self._tag(stream)
        item = ITEM_BYTES.get(kind, 0)
        # A character may take several bytes; numbers are exact.
        fits = size >= elements if bytes_each == CHAR_BYTES else size == elements * item
        if not (item and fits):
            raise _DamagedError("an array holds more or fewer numbers than its size says")
        self.allowed -= max(size, elements * bytes_each)
        if self.allowed < 0:
            raise _DamagedError("it declares far more numbers than the file can hold")
        if small is None:
            stream.seek(size + -size % 8, 1)

    def _small(self, stream: Any, kinds: tuple[int, ...], limit: int) -> bytes:
        """The bytes of a short element."""
        kind, size, small = self._tag(stream)
        if kind not in kinds or size > limit:
            raise _DamagedError("an array's description is damaged")
        if small is not None:
            return small
        data: bytes = stream.read(size + -size % 8)[:size]
        if len(data) < size:
            raise _DamagedError("it is truncated")
        return data

    @staticmethod
    def _tag(stream: Any) -> tuple[int, int, bytes | None]:
        """Type and bytes of the next element; of up to four bytes, these stand in the tag."""
        tag = stream.read(8)
        if len(tag) < 8:
            raise _DamagedError("it is truncated")
        kind, size = int.from_bytes(tag[:2], "little"), int.from_bytes(tag[2:4], "little")
        if size:
            if size > 4:
                raise _DamagedError("an element's tag is damaged")
            return kind, size, tag[4 : 4 + size]
        return kind, int.from_bytes(tag[4:], "little"), None


class _Unpacked:
    """A compressed element as a stream, a piece at a time."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self.file, self.left = file, count
        self.decoder = zlib.decompressobj()
        self.buffer = b""

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        while len(self.buffer) < count and (self.left or self.decoder.unconsumed_tail):
            packed = self.decoder.unconsumed_tail
            if not packed:
                packed = self.file.read(min(self.left, 1 << 16))
                self.left -= len(packed)
                if not packed:
                    break
            more = self.decoder.decompress(packed, 1 << 20)
            if not more and not self.decoder.unconsumed_tail and self.decoder.eof:
                break
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def seek(self, count: int, _whence: int) -> None:
        """Step over `count` bytes."""
        while count > 0:
            step = min(count, 1 << 16)
            if len(self.read(step)) < step:
                raise _DamagedError("it is truncated")
            count -= step
