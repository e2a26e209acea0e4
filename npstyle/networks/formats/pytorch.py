"""PyTorch's files of tensors, read without PyTorch.

Both layouts hold one pickle (`npstyle.networks.formats.unpickle`) that describes the tensors, and
beside it the bare numbers of each storage:

zip (since PyTorch 1.6)
    an archive with `NAME/data.pkl` and one uncompressed member `NAME/data/KEY` per storage.
legacy
    the pickles of a magic number, a protocol version, a record of the machine, the object, and the
    list of storage keys; then per key, in this order, the count as int64 and the numbers.

Format: PyTorch's `torch/serialization.py`.
"""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.formats.found import Found
from npstyle.networks.formats.state_dict import find_convolutions
from npstyle.networks.formats.unpickle import MAX_BYTES, RefusedError, TensorRecord, load

Array = NDArray[Any]

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

ZIP_SIGNATURE = b"PK\x03\x04"

DTYPES = {"Half": "<f2", "Float": "<f4", "Double": "<f8", "Long": "<i8", "Int": "<i4"}
"""Types of storages that can be read. Whole numbers count the batches of a normalisation."""

Reader = Callable[[TensorRecord], Array]


def read_pytorch_zip(source: Path) -> Found:
    """Read a state dictionary in the zip layout.

    Raises
    ------
    InputError
        If it is damaged, holds no VGG, or its pickle asks for more than tensors.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if "meta.npy" in members:
                raise InputError(
                    f"{source}: is no foreign file but npstyle's own format, or an archive of "
                    "NumPy; use it as it is, with --network"
                )
            pickles = [name for name in members if name.split("/")[-1] == "data.pkl"]
            if len(pickles) != 1:
                raise InputError(
                    f"{source}: is a zip archive without PyTorch's data.pkl; "
                    "give a state dictionary saved by torch.save"
                )
            prefix = pickles[0].removesuffix("data.pkl")
            if members.get(f"{prefix}byteorder") is not None:
                order = _member(source, archive, members[f"{prefix}byteorder"], MAX_BYTES)
                if order != b"little":
                    raise InputError(
                        f"{source}: was saved by a big-endian machine; save it again on another"
                    )
            described = _member(source, archive, members[pickles[0]], MAX_BYTES)

            def read(tensor: TensorRecord) -> Array:
                name = f"{prefix}data/{tensor.storage.key}"
                dtype = _dtype(source, tensor)
                size = tensor.storage.count * dtype.itemsize
                if name not in members or members[name].file_size != size:
                    raise InputError(
                        f"{source}: the storage {tensor.storage.key} has not the {size} bytes that "
                        "the pickle declares; the file is damaged"
                    )
                data = _member(source, archive, members[name], size)
                return _laid_out(source, tensor, np.frombuffer(data, dtype))

            return find_convolutions(source, _tensors(source, _unpickled(source, described)), read)
    except InputError:
        raise
    except Exception as error:  # a damaged archive makes zipfile raise nearly anything
        raise InputError(
            f"{source}: the zip archive is damaged or truncated ({error}); download it again"
        ) from error


def read_pytorch_legacy(source: Path) -> Found:
    """Read a state dictionary in the legacy layout; raises as `read_pytorch_zip`."""
    with source.open("rb") as file:
        head = io.BytesIO(file.read(MAX_BYTES))
        parts = [_unpickled(source, head)]
        if parts[0] == MAGIC:
            parts += [_unpickled(source, head) for _ in range(4)]
        if len(parts) < 5 or parts[1] != PROTOCOL:
            raise InputError(
                f"{source}: is a Python pickle, but none that torch.save wrote; give a state "
                "dictionary, as torch.save(model.state_dict(), FILE) makes it"
            )
        machine, described, keys = parts[2:]
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise InputError(
                f"{source}: was saved by a big-endian machine; save it again on another"
            )
        tensors = _tensors(source, described)
        places = _places(source, file, keys, tensors, head.tell())

        def read(tensor: TensorRecord) -> Array:
            file.seek(places[tensor.storage.key])
            dtype = _dtype(source, tensor)
            numbers = np.frombuffer(file.read(tensor.storage.count * dtype.itemsize), dtype)
            return _laid_out(source, tensor, numbers)

        return find_convolutions(source, tensors, read)


def _unpickled(source: Path, pickle: bytes | io.BytesIO) -> Any:
    try:
        return load(io.BytesIO(pickle) if isinstance(pickle, bytes) else pickle)
    except RefusedError as error:
        raise InputError(
            f"{source}: its pickle is refused, because {error}; nothing of it has been run"
        ) from error


def _member(source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The bytes of one member, which must be stored as they are: no bomb can hide in them."""
    stored = member.compress_type == zipfile.ZIP_STORED
    if not stored or member.file_size != member.compress_size or member.file_size > limit:
        raise InputError(
            f"{source}: the member {member.filename} is compressed or larger than it may be; "
            "torch.save writes neither"
        )
    with archive.open(member) as stream:
        data = stream.read(member.file_size)
    if len(data) != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} is truncated")
    return data


def _tensors(source: Path, described: Any) -> dict[str, TensorRecord]:
    """The tensors of a state dictionary, or of one under "state_dict", by name."""
    if isinstance(described, dict) and isinstance(described.get("state_dict"), dict):
        described = described["state_dict"]
    if not isinstance(described, dict):
        raise InputError(
            f"{source}: holds {type(described).__name__} where a state dictionary is expected; "
            "save model.state_dict(), not the model"
        )
    return {
        name: tensor
        for name, tensor in described.items()
        if isinstance(name, str) and isinstance(tensor, TensorRecord)
    }


def _places(
    source: Path, file: IO[bytes], keys: Any, tensors: dict[str, TensorRecord], start: int
) -> dict[str, int]:
    """Where each storage's numbers begin in a legacy file, having checked that they are there."""
    storages = {tensor.storage.key: tensor for tensor in tensors.values()}
    end = file.seek(0, io.SEEK_END)
    places: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else []:
        file.seek(start)
        count = int.from_bytes(file.read(8), "little", signed=True)
        if not isinstance(key, str) or key not in storages or key in places:
            raise InputError(f"{source}: the storage {key!r:.40} belongs to no tensor")
        tensor = storages[key]
        places[key] = start + 8
        start += 8 + tensor.storage.count * _dtype(source, tensor).itemsize
        if count != tensor.storage.count or start > end:
            raise InputError(
                f"{source}: the storage {key} does not hold the {tensor.storage.count} numbers "
                "that the pickle declares; the file is truncated or damaged: download it again"
            )
    missing = [key for key in storages if key not in places]
    if missing:
        raise InputError(f"{source}: the storage {missing[0]} is missing; the file is damaged")
    return places


def _dtype(source: Path, tensor: TensorRecord) -> np.dtype[Any]:
    kind = tensor.storage.kind
    if kind not in DTYPES:
        raise InputError(
            f"{source}: holds numbers of type {kind:.20}; save the tensors as float32 (.float())"
        )
    return np.dtype(DTYPES[kind])


def _laid_out(source: Path, tensor: TensorRecord, numbers: Array) -> Array:
    """A tensor out of its storage's numbers."""
    first = tensor.storage.first + tensor.offset
    size = math.prod(tensor.shape)
    # With strides of 0 a few numbers could become any number of them.
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if size == 0 or size > len(numbers) or first + steps >= len(numbers):
        raise InputError(
            f"{source}: a tensor of shape {tensor.shape} reaches beyond its storage; "
            "the file is damaged"
        )
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    view: Array = np.lib.stride_tricks.as_strided(numbers[first:], tensor.shape, strides)
    return np.ascontiguousarray(view)
