"""Read MatConvNet's networks: `imagenet-vgg-verydeep-19.mat`, a MATLAB file of version 5.

`layers` is a list of structures with name, type and weights = {filters, biases}; old files have the
two fields `filters` and `biases` instead. Filters are (kernel height, kernel width, in, out).
MatConvNet's importer transposes Caffe's (out, in, height, width) and reverses the channels of the
first layer, so the network expects RGB, 0..255, minus `averageImage`.

SciPy reads the file. It allocates whatever memory a file declares, so this module first walks
through the structure of the file and checks that the declared numbers are present.

Format: MathWorks, "MAT-File Format", Level 5; MatConvNet's `utils/import-caffe.py`.
"""

import math
import re
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.archive import MAX_RATIO
from npstyle.networks.formats.found import OXFORD_LICENSE, Found, Preprocessing

MAT_SIGNATURE = b"MATLAB 5.0 MAT-file"
MAT_HDF5_SIGNATURE = b"MATLAB 7.3 MAT-file"

SLACK = 1 << 20
"""Bytes that a file may declare beyond `MAX_RATIO` times its size: small files compress better."""

MAX_ARRAYS = 50_000
"""Number of arrays beyond which a file is refused. MatConvNet's VGG has about 2300, most of them
the names of ImageNet's classes."""

MAX_DEPTH = 12
"""Depth of nested arrays beyond which a file is refused."""

ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Bytes per number for each type of data in the file: miINT8 ... miUTF32."""

CHAR_BYTES, NUMBER_BYTES = 4, 8
"""Bytes of memory for a character, and at most for a number."""

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHAR, DOUBLE, UINT64 = 1, 2, 4, 6, 15
"""Classes of arrays; DOUBLE to UINT64 are numeric."""


def read_matconvnet(source: Path) -> Found:
    """Read a MatConvNet file.

    Raises
    ------
    InputError
        If it is damaged, or is not a network of MatConvNet.
    """
    from scipy.io import loadmat

    try:
        with source.open("rb") as file:
            _Walk(file, source.stat().st_size).run()
        contents = loadmat(
            source,
            simplify_cells=True,
            variable_names=["layers", "normalization", "meta", "net"],
        )
    except _DamagedError as error:
        raise InputError(
            f"{source}: the MATLAB file is refused, because {error}; download it again"
        ) from error
    except MemoryError as error:
        raise InputError(
            f"{source}: the MATLAB file needs more memory than is available; free some"
        ) from error
    except Exception as error:  # SciPy raises almost any exception on damaged files
        raise InputError(
            f"{source}: the MATLAB file is damaged or truncated ({error}); download it again"
        ) from error
    contents = contents.get("net", contents)
    layers = contents.get("layers") if isinstance(contents, dict) else None
    if not isinstance(layers, list | np.ndarray):
        raise InputError(
            f"{source}: is a MATLAB file without MatConvNet's `layers`; use a network of MatConvNet"
        )
    kernels, biases = {}, {}
    for layer in layers:
        name = layer.get("name") if isinstance(layer, dict) else None
        if isinstance(name, str) and re.fullmatch(r"conv\d_\d", name):
            kernels[name], biases[name] = _convolution(source, name, layer)
    mean = _mean(source, contents)
    preprocessing = Preprocessing("RGB", mean, (1.0, 1.0, 1.0))
    return Found(kernels, biases, preprocessing, "MatConvNet", OXFORD_LICENSE)


def _convolution(source: Path, name: str, layer: dict[str, Any]) -> tuple[Array, Array]:
    """Return the kernel (out, in, height, width) and the bias (out,) of a layer."""
    parts = layer.get("weights", [layer.get("filters"), layer.get("biases")])
    kernel, bias = parts if isinstance(parts, list | np.ndarray) and len(parts) == 2 else (0, 0)
    kernel, bias = np.asarray(kernel), np.asarray(bias)
    if kernel.ndim != 4 or kernel.dtype.kind != "f" or bias.dtype.kind != "f":
        raise InputError(
            f"{source}: layer {name} has filters of shape {kernel.shape} and biases of shape "
            f"{bias.shape} instead of (height, width, in, out) and (out,); download it again"
        )
    return kernel.transpose(3, 2, 0, 1), bias.reshape(-1)


def _mean(source: Path, contents: dict[str, Any]) -> tuple[float, ...]:
    """Return the mean colour, RGB: `averageImage`, or its mean if it is a whole image."""
    meta = contents.get("meta")
    normalization = (meta if isinstance(meta, dict) else contents).get("normalization")
    image = normalization.get("averageImage") if isinstance(normalization, dict) else None
    image = np.asarray(image if image is not None else 0)
    if image.dtype.kind not in "fui" or image.ndim == 0 or image.shape[-1] != 3:
        raise InputError(
            f"{source}: has no averageImage with three channels in `normalization`, so the "
            "preprocessing is unknown; use a file of MatConvNet that has one"
        )
    return tuple(float(value) for value in image.reshape(-1, 3).mean(axis=0, dtype=np.float64))


class _DamagedError(Exception):
    """The structure of the file is not sound; the message completes "because ..."."""


class _Walk:
    """Walk through the elements of a file and count the memory that they declare."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.raw = file
        self.size = size
        self.allowed = MAX_RATIO * size + SLACK
        self.arrays = 0

    def run(self) -> None:
        """Walk through the whole file; raise `_DamagedError` if it is not sound."""
        header = self.raw.read(128)
        if header[126:128] != b"IM":
            raise _DamagedError("it has no header of a little-endian MATLAB file")
        position = 128
        while position < self.size:
            self.raw.seek(position)
            kind, count, _ = self._tag(self.raw)
            position += 8 + count
            if position > self.size:
                raise _DamagedError("it is truncated")
            if kind == COMPRESSED:
                unpacked = _Unpacked(self.raw, count)
                kind, count, _ = self._tag(unpacked)
                self._array(unpacked, kind, count, 0)
            else:
                self._array(self.raw, kind, count, 0)

    def _array(self, stream: Any, kind: int, count: int, depth: int) -> None:
        """Walk through an array of `count` bytes after its tag."""
        self.arrays += 1
        if kind != MATRIX or depth > MAX_DEPTH or self.arrays > MAX_ARRAYS:
            raise _DamagedError("it contains a structure that no network has")
        if count == 0:
            return
        flags = self._small(stream, (6,), 8)
        array_class, is_complex = flags[0], flags[1] & 8
        dims = np.frombuffer(self._small(stream, (5,), 32), "<i4")
        self._small(stream, (1,), 64)  # the name
        elements = math.prod(int(n) for n in dims)
        if dims.size < 2 or dims.min() < 0:
            raise _DamagedError("an array has no valid size")
        if array_class in (CELL, STRUCT):
            fields = self._count_fields(stream) if array_class == STRUCT else 1
            if elements * max(1, fields) > MAX_ARRAYS:
                raise _DamagedError("a list declares too many entries")
            for _ in range(elements * fields):
                inner, size, _ = self._tag(stream)
                self._array(stream, inner, size, depth + 1)
        elif array_class == CHAR or DOUBLE <= array_class <= UINT64:
            for _ in range(2 if is_complex else 1):
                bytes_each = CHAR_BYTES if array_class == CHAR else NUMBER_BYTES
                self._numbers(stream, elements, bytes_each)
        else:
            raise _DamagedError(
                f"it contains an array of class {array_class}, which no network has"
            )

    def _count_fields(self, stream: Any) -> int:
        """Return the number of fields of a structure."""
        length = int.from_bytes(self._small(stream, (5,), 4), "little")
        names = self._small(stream, (1,), 4096)
        if not 1 <= length <= 64 or len(names) % length:
            raise _DamagedError("the fields of a structure have no valid names")
        return len(names) // length

    def _numbers(self, stream: Any, elements: int, bytes_each: int) -> None:
        """Skip the numbers of an array and check their count against its size."""
        kind, size, small = self._tag(stream)
        item = ITEM_BYTES.get(kind, 0)
        # A character may take several bytes, a number has a fixed size.
        fits = size >= elements if bytes_each == CHAR_BYTES else size == elements * item
        if not (item and fits):
            raise _DamagedError("an array contains more or fewer numbers than its size declares")
        self.allowed -= max(size, elements * bytes_each)
        if self.allowed < 0:
            raise _DamagedError("it declares far more numbers than the file can contain")
        if small is None:
            stream.seek(size + -size % 8, 1)

    def _small(self, stream: Any, kinds: tuple[int, ...], limit: int) -> bytes:
        """Return the bytes of a short element."""
        kind, size, small = self._tag(stream)
        if kind not in kinds or size > limit:
            raise _DamagedError("the description of an array is damaged")
        if small is not None:
            return small
        data: bytes = stream.read(size + -size % 8)[:size]
        if len(data) < size:
            raise _DamagedError("it is truncated")
        return data

    @staticmethod
    def _tag(stream: Any) -> tuple[int, int, bytes | None]:
        """Return the type, the size and, if up to four bytes, the data of the next element."""
        tag = stream.read(8)
        if len(tag) < 8:
            raise _DamagedError("it is truncated")
        kind, size = int.from_bytes(tag[:2], "little"), int.from_bytes(tag[2:4], "little")
        if size:
            if size > 4:
                raise _DamagedError("the tag of an element is damaged")
            return kind, size, tag[4 : 4 + size]
        return kind, int.from_bytes(tag[4:], "little"), None


class _Unpacked:
    """A compressed element as a stream, decompressed in chunks."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self.file, self.left = file, count
        self.decoder = zlib.decompressobj()
        self.buffer = b""

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end."""
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
        """Skip `count` bytes."""
        while count > 0:
            step = min(count, 1 << 16)
            if len(self.read(step)) < step:
                raise _DamagedError("it is truncated")
            count -= step
