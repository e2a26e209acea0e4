"""Read safetensors: a JSON header of names, types, shapes and offsets, followed by raw numbers.

The format cannot contain code, and its library checks that every offset lies inside the file. The
names are those of the saved PyTorch module (torchvision, timm).

Format: github.com/huggingface/safetensors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.formats.bfloat16 import widened
from npstyle.networks.formats.state_dict import Find, R

READABLE = ("F16", "F32", "F64")
MAX_HEADER_BYTES = 8 << 20
"""A file that declares a longer header is not recognised as safetensors."""


@dataclass(frozen=True)
class _Slice:
    """A tensor that has not been read yet."""

    name: str
    shape: tuple[int, ...]


def is_safetensors(start: bytes) -> bool:
    """Return whether a file begins with the length of a header and an opening brace."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES


def read_safetensors(source: Path, find: Find[R]) -> R:
    """Read a safetensors file.

    Parameters
    ----------
    source : Path
    find : callable
        Receives the tensors; what it returns is returned.

    Raises
    ------
    InputError
        If it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(source, framework="numpy") as file:
            names = file.keys()
            tensors = {
                name: _Slice(name, tuple(file.get_slice(name).get_shape())) for name in names
            }

            def read(tensor: _Slice) -> Array:
                dtype = file.get_slice(tensor.name).get_dtype()
                if dtype == "BF16":
                    return _read_bfloat16(source, tensor)
                if dtype not in READABLE:
                    raise InputError(
                        f"{source}: the tensor {tensor.name} is {dtype}; save it as one of "
                        f"BF16, {', '.join(READABLE)}"
                    )
                array: Array = file.get_tensor(tensor.name)
                return array

            return find(source, tensors, read)
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{source}: the safetensors file is damaged or truncated ({error}); download it again"
        ) from error


def _read_bfloat16(source: Path, tensor: _Slice) -> Array:
    """Return a tensor in bfloat16, a type that NumPy lacks, as float32.

    The library has checked that the offsets lie inside the file and fit the shape.
    """
    with source.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(header_bytes))[tensor.name]["data_offsets"]
        file.seek(8 + header_bytes + start)
        halves = np.frombuffer(file.read(end - start), "<u2")
    return widened(halves).reshape(tensor.shape)
