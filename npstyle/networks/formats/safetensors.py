"""Safetensors: a JSON header of names, types, shapes and places, and bare numbers behind it.

The format cannot run anything, and its own library checks that every place lies inside the file.
The names are those of the PyTorch module that was saved (torchvision, timm).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.formats.found import Found
from npstyle.networks.formats.state_dict import find_convolutions

Array = NDArray[Any]

READABLE = ("F16", "F32", "F64")
MAX_HEADER_BYTES = 8 << 20


@dataclass(frozen=True)
class _Slice:
    name: str
    shape: tuple[int, ...]


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins like one: the header's length, then its opening brace."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES


def read_safetensors(source: Path) -> Found:
    """Read a file of safetensors.

    Raises
    ------
    InputError
        If it is damaged or holds no VGG.
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
                if dtype not in READABLE:
                    raise InputError(
                        f"{source}: the tensor {tensor.name} is {dtype}; it must be one of "
                        f"{', '.join(READABLE)}"
                    )
                array: Array = file.get_tensor(tensor.name)
                return array

            return find_convolutions(source, tensors, read)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{source}: the safetensors file is damaged or truncated ({error}); download it again"
        ) from error
