"""Arrays that live on disk: what is as large as the picture, where memory is short.

An array is a memory map of a file in the folder that the user names. The file has no name of its
own, so that nothing is left behind however the run ends, and its space is taken when it is made: a
disk that is full says so then, and not in the middle of a sum.

What has been read or written stays in memory until the system wants it back, and counts as the
program's until then. `let_go` gives it back at once; the file keeps it.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npstyle.errors import InputError

Array = NDArray[Any]

Allocate = Callable[[tuple[int, ...], DTypeLike, str], Array]
"""From shape, dtype and a name for messages: an array of zeros."""


def in_memory(shape: tuple[int, ...], dtype: DTypeLike, name: str) -> Array:
    """An array of zeros, in memory."""
    return np.zeros(shape, dtype)


def on_disk(folder: Path) -> Allocate:
    """What makes arrays in files in a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    callable
        Raises InputError, naming --scratch, if the disk has no room for an array.

    Raises
    ------
    InputError
        If no file can be made there.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"--scratch {folder}: no file can be made there ({error.strerror}); "
            "name a folder that can be written to"
        ) from error

    def allocate(shape: tuple[int, ...], dtype: DTypeLike, name: str) -> Array:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                _reserve(file.fileno(), size)
                return np.memmap(file, dtype, "r+", shape=shape)
        except OSError as error:
            raise InputError(
                f"--scratch {folder}: {name} takes {size / 1e6:.1f} MB there, and they cannot be "
                f"had ({error.strerror}); make room, or name another folder"
            ) from error

    return allocate


def _reserve(file: int, size: int) -> None:
    """Let a file have `size` bytes of the disk, all zero."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def let_go(array: Array) -> None:
    """Give back the memory of what has been touched of an array on disk; others are left alone."""
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped: mmap.mmap = array._mmap  # type: ignore[attr-defined]
        mapped.madvise(mmap.MADV_DONTNEED)
