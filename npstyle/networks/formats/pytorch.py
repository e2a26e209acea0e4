"""Read PyTorch's files of tensors without PyTorch.

Both layouts consist of a pickle that describes the tensors (see
`npstyle.networks.formats.unpickle`) and of the raw numbers of each storage:

zip (since PyTorch 1.6)
    An archive with `NAME/data.pkl` and one uncompressed member `NAME/data/KEY` per storage.
legacy
    The pickles of a magic number, a protocol version, a description of the machine, the object, and
    the list of storage keys. Then, for each key in this order, the count as int64 and the numbers.

Format: PyTorch's `torch/serialization.py`.
"""

import io
import math
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.formats.bfloat16 import widened
from npstyle.networks.formats.places import NESTING
from npstyle.networks.formats.state_dict import Find, R
from npstyle.networks.formats.unpickle import MAX_BYTES, RefusedError, TensorRecord, load

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

ZIP_SIGNATURE = b"PK\x03\x04"

BFLOAT16 = "BFloat16"

DTYPES = {
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
    BFLOAT16: "<u2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "<i1",
    "Byte": "<u1",
    "Bool": "<u1",
}
"""Supported types of storages. Integers occur beside the weights, such as the counters of batch
normalisation."""

MAX_NAME = 300
"""Length of a tensor's path beyond which the tensor is ignored."""


def read_pytorch_zip(source: Path, find: Find[R]) -> R:
    """Read a state dictionary in the zip layout.

    Parameters
    ----------
    source : Path
    find : callable
        Receives the tensors; what it returns is returned.

    Raises
    ------
    InputError
        If it is damaged, or if its pickle contains more than tensors.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = {member.filename: member for member in archive.infolist()}
            pickles = [name for name in members if name.split("/")[-1] == "data.pkl"]
            if len(pickles) != 1:
                raise InputError(
                    f"{source}: is a zip archive without PyTorch's data.pkl; "
                    "use a state dictionary saved by torch.save"
                )
            prefix = pickles[0].removesuffix("data.pkl")
            if members.get(f"{prefix}byteorder") is not None:
                order = _member(source, archive, members[f"{prefix}byteorder"], MAX_BYTES)
                if order != b"little":
                    raise InputError(
                        f"{source}: was saved on a big-endian machine; save it on a "
                        "little-endian one"
                    )
            pickled = _member(source, archive, members[pickles[0]], MAX_BYTES)

            def numbers(tensor: TensorRecord) -> Array:
                name = f"{prefix}data/{tensor.storage.key}"
                dtype = _dtype(source, tensor)
                size = tensor.storage.count * dtype.itemsize
                if name not in members or members[name].file_size != size:
                    raise InputError(
                        f"{source}: the storage {tensor.storage.key} does not have the {size} "
                        "bytes that the pickle declares; the file is damaged, download it again"
                    )
                return np.frombuffer(_member(source, archive, members[name], size), dtype)

            tensors = _tensors(source, _unpickled(source, pickled))
            return find(source, tensors, _reader(source, numbers))
    except InputError:
        raise
    except Exception as error:  # zipfile raises almost any exception on damaged archives
        raise InputError(
            f"{source}: the zip archive is damaged or truncated ({error}); download it again"
        ) from error


def read_pytorch_legacy(source: Path, find: Find[R]) -> R:
    """Read a state dictionary in the legacy layout, as `read_pytorch_zip`."""
    with source.open("rb") as file:
        head = io.BytesIO(file.read(MAX_BYTES))
        parts = [_unpickled(source, head)]
        if parts[0] == MAGIC:
            parts += [_unpickled(source, head) for _ in range(4)]
        if len(parts) < 5 or parts[1] != PROTOCOL:
            raise InputError(
                f"{source}: is a Python pickle that torch.save did not write; use a state "
                "dictionary written by torch.save(model.state_dict(), FILE)"
            )
        machine, described, keys = parts[2:]
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise InputError(
                f"{source}: was saved on a big-endian machine; save it on a little-endian one"
            )
        tensors = _tensors(source, described)
        offsets = _offsets(source, file, keys, tensors, head.tell())

        def numbers(tensor: TensorRecord) -> Array:
            file.seek(offsets[tensor.storage.key])
            dtype = _dtype(source, tensor)
            return np.frombuffer(file.read(tensor.storage.count * dtype.itemsize), dtype)

        return find(source, tensors, _reader(source, numbers))


def _unpickled(source: Path, pickle: bytes | io.BytesIO) -> Any:
    """Return the object of a pickle; raise InputError, naming the file, if it is refused."""
    try:
        return load(io.BytesIO(pickle) if isinstance(pickle, bytes) else pickle)
    except RefusedError as error:
        raise InputError(
            f"{source}: its pickle is refused, because {error}, and nothing in it has been run; "
            "use a file that contains only tensors"
        ) from error


def _member(source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the bytes of a member, which must be uncompressed, so it cannot be a zip bomb."""
    stored = member.compress_type == zipfile.ZIP_STORED
    if not stored or member.file_size != member.compress_size or member.file_size > limit:
        raise InputError(
            f"{source}: the member {member.filename} is compressed or too large, so torch.save did "
            "not write it; use an unchanged file"
        )
    with archive.open(member) as stream:
        data = stream.read(member.file_size)
    if len(data) != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} is truncated")
    return data


def _tensors(source: Path, described: Any) -> dict[str, TensorRecord]:
    """Return the tensors of a dictionary, and of those inside it, by path; see `places`."""
    if not isinstance(described, dict):
        raise InputError(
            f"{source}: contains a {type(described).__name__} instead of a state dictionary; "
            "save model.state_dict(), not the model"
        )
    tensors: dict[str, TensorRecord] = {}
    seen = {id(described)}  # a pickle can contain an object in many places, even in itself
    waiting: deque[tuple[str, Any]] = deque([("", described)])
    while waiting:
        path, container = waiting.popleft()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in items:
            if len(name := f"{path}{key}") > MAX_NAME:
                continue
            if isinstance(value, TensorRecord):
                tensors[name] = value
            elif isinstance(value, dict | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((name + NESTING, value))
    return tensors


def _reader(source: Path, numbers: Callable[[TensorRecord], Array]) -> Callable[[Any], Array]:
    """Return a function that reads a tensor, given one that reads the numbers of its storage.

    Each tensor becomes an array of its own, so tensors that share their numbers could fill any
    memory. They are refused.
    """
    taken: dict[str, int] = {}

    def read(tensor: TensorRecord) -> Array:
        key, count = tensor.storage.key, tensor.storage.count
        taken[key] = taken.get(key, 0) + min(math.prod(tensor.shape), count)
        if taken[key] > count:
            raise InputError(
                f"{source}: has tensors that share their numbers; save copies of them (.clone())"
            )
        array = _strided(source, tensor, numbers(tensor))
        return widened(array) if tensor.storage.kind == BFLOAT16 else array

    return read


def _offsets(
    source: Path, file: IO[bytes], keys: Any, tensors: dict[str, TensorRecord], start: int
) -> dict[str, int]:
    """Return the offset in bytes of each storage in a legacy file, after checking its size."""
    storages = {tensor.storage.key: tensor for tensor in tensors.values()}
    end = file.seek(0, io.SEEK_END)
    offsets: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else []:
        file.seek(start)
        count = int.from_bytes(file.read(8), "little", signed=True)
        if not isinstance(key, str) or key not in storages or key in offsets:
            raise InputError(
                f"{source}: the storage {key!r:.40} belongs to no tensor; the file is damaged, "
                "download it again"
            )
        tensor = storages[key]
        offsets[key] = start + 8
        start += 8 + tensor.storage.count * _dtype(source, tensor).itemsize
        if count != tensor.storage.count or start > end:
            raise InputError(
                f"{source}: the storage {key} does not contain the {tensor.storage.count} numbers "
                "that the pickle declares; the file is truncated or damaged, download it again"
            )
    missing = [key for key in storages if key not in offsets]
    if missing:
        raise InputError(
            f"{source}: the storage {missing[0]} is missing; the file is damaged, download it again"
        )
    return offsets


def _dtype(source: Path, tensor: TensorRecord) -> np.dtype[Any]:
    """Return the dtype of a tensor; raise InputError if it is not supported."""
    kind = tensor.storage.kind
    if kind not in DTYPES:
        raise InputError(
            f"{source}: contains numbers of type {kind:.20}; save the tensors as float32 (.float())"
        )
    return np.dtype(DTYPES[kind])


def _strided(source: Path, tensor: TensorRecord, numbers: Array) -> Array:
    """Return a tensor from the numbers of its storage."""
    first = tensor.storage.first + tensor.offset
    size = math.prod(tensor.shape)
    # With strides of 0, a few numbers could expand to an array of any size.
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if size == 0 or size > len(numbers) or first + steps >= len(numbers):
        raise InputError(
            f"{source}: a tensor of shape {tensor.shape} extends beyond its storage; "
            "the file is damaged, download it again"
        )
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    view: Array = np.lib.stride_tricks.as_strided(numbers[first:], tensor.shape, strides)
    return np.ascontiguousarray(view)
