"""Files of named tensors, PyTorch's and safetensors: the first bytes select the reader."""

import re
from pathlib import Path

from npstyle.networks.formats.pytorch import ZIP_SIGNATURE, read_pytorch_legacy, read_pytorch_zip
from npstyle.networks.formats.safetensors import is_safetensors, read_safetensors
from npstyle.networks.formats.state_dict import Find, R

PICKLE = rb"\x80[\x00-\x05]|\(?[ci][\w.]+\n[\w.]+\n"
"""Start of a pickle: its protocol, or, in the oldest protocol, a function to call."""


def has_tensors(start: bytes) -> bool:
    """Return whether a file that begins so is one of named tensors."""
    pickled = re.match(PICKLE, start) is not None
    return pickled or start.startswith(ZIP_SIGNATURE) or is_safetensors(start)


def read_tensors(source: Path, start: bytes, find: Find[R]) -> R:
    """Read a file of named tensors.

    Parameters
    ----------
    source : Path
    start : bytes
        Its first bytes; `has_tensors` is true of them.
    find : callable
        Receives the tensors; what it returns is returned.

    Raises
    ------
    InputError
        If the file is damaged or contains more than tensors.
    """
    if start.startswith(ZIP_SIGNATURE):
        return read_pytorch_zip(source, find)
    # The length at the start of safetensors can begin as a pickle does; no pickle has its zeros.
    if is_safetensors(start):
        return read_safetensors(source, find)
    return read_pytorch_legacy(source, find)
