"""Arrays on disk, for arrays of the picture's size where memory is short.

An array is a memory map of a file in a folder that the user names. The file has no name of its own,
so nothing is left behind however the run ends. Its space is reserved when it is created, so a full
disk is reported then, and not in the middle of a computation.

Pages that were read or written stay in memory, and count as the program's, until the system needs
them. `let_go` releases them at once; the file keeps their contents.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from npstyle.errors import InputError
from npstyle.maths.array import Array

Allocate = Callable[[tuple[int, ...], DTypeLike, str], Array]
"""Makes an array of zeros from a shape, a dtype and a name for messages."""


def in_memory(shape: tuple[int, ...], dtype: DTypeLike, name: str) -> Array:
    """Return an array of zeros in memory."""
    return np.zeros(shape, dtype)


def on_disk(folder: Path) -> Allocate:
    """Return a function that makes arrays in files in a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    callable
        It raises InputError, naming --scratch, if the disk is too full for an array.

    Raises
    ------
    InputError
        If no file can be created there.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"--scratch {folder}: no file can be created there ({error.strerror}); "
            "choose a folder that can be written to"
        ) from error

    def allocate(shape: tuple[int, ...], dtype: DTypeLike, name: str) -> Array:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                _reserve(file.fileno(), size)
                return np.memmap(file, dtype, "r+", shape=shape)
        except OSError as error:
            raise InputError(
                f"--scratch {folder}: {name} takes {size / 1e6:.1f} MB there, which cannot be "
                f"reserved ({error.strerror}); free some, or choose another folder"
            ) from error

    return allocate


def _reserve(file: int, size: int) -> None:
    """Reserve `size` bytes of the disk for a file, all zero."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def let_go(array: Array) -> None:
    """Release the memory of an array on disk; an array in memory is left as it is."""
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped: mmap.mmap = array._mmap  # type: ignore[attr-defined]
        mapped.madvise(mmap.MADV_DONTNEED)
