"""Arrays on an NVIDIA GPU, and kernel launches, through CuPy.

The kernel sources that `npstyle.engine.cuda.launch` lists are compiled for the GPU when they are
first used, and CuPy caches the binaries on disk. Launches are asynchronous; copying a number to the
host waits for them.

Arrays must be C-contiguous and own their memory, because the kernels read four numbers at a time
from aligned addresses. In type hints they are called `Array`, like NumPy's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from npstyle.engine.cuda.launch import Launch, elementwise, source
from npstyle.maths.array import Array

ON_GPU = True
"""Whether the engine's arrays lie in a GPU's memory."""

NULL = np.uint64(0)
"""The pointer that a kernel receives for an array that is not given."""

_run_library_call: Callable[[Callable[[], None]], None] | None = None


def cupy() -> Any:
    """Import and return CuPy, an optional dependency."""
    return import_module("cupy")


def place(array: Array, dtype: Any = None) -> Array:
    """Copy an array to the GPU. A contiguous GPU array of this dtype is returned as it is.

    Parameters
    ----------
    array : NumPy or CuPy array of any shape
    dtype : dtype, optional
        Of the result; by default the array's own.
    """
    return cupy().asarray(array, dtype, order="C")


def to_host(array: Array) -> Array:
    """Copy an array to the host's memory; a NumPy array is returned as it is."""
    return cupy().asnumpy(array) if hasattr(array, "__cuda_array_interface__") else array


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised array on the GPU."""
    return cupy().empty(shape, dtype)


def zeros_like(array: Array) -> Array:
    """Return zeros of an array's shape and dtype."""
    return cupy().zeros_like(array)


def numbers(values: Sequence[Array]) -> list[float]:
    """Fetch arrays of one value each, such as losses, from the GPU in one transfer."""
    found: list[float] = to_host(cupy().concatenate(values)).tolist() if values else []
    return found


def matmul(left: Array, right: Array) -> Array:
    """Multiply two matrices with cuBLAS."""
    out = empty((left.shape[0], right.shape[1]), left.dtype)

    def multiply() -> None:
        cupy().dot(left, right, out=out)

    if _run_library_call is None:
        multiply()
    else:
        _run_library_call(multiply)
    return out


@contextmanager
def library_calls(run: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Pass calls into a library to `run`, which may defer them (`npstyle.engine.cuda.replay`)."""
    global _run_library_call
    before, _run_library_call = _run_library_call, run
    try:
        yield
    finally:
        _run_library_call = before


@cache
def _module(file: str) -> Any:
    return cupy().RawModule(code=source(file), options=("-std=c++17",))


@cache
def _kernel(file: str, name: str) -> Any:
    return _module(file).get_function(name)


def forget_kernels() -> None:
    """Drop the compiled kernels, so that another CuPy (the tests' stand-in) can compile its own."""
    _module.cache_clear()
    _kernel.cache_clear()


def launch(file: str, shape: Launch, *arguments: Any) -> None:
    """Launch a kernel.

    Parameters
    ----------
    file : str
        Name of the source file that contains it, without ".cu".
    shape : Launch
        From `npstyle.engine.cuda.launch`.
    arguments
        In the order of the kernel's parameters: None for a null pointer, a Python int for an `int`.
        `long long`, `float` and `double` must be given as NumPy int64, float32 and float64.

    Raises
    ------
    ValueError
        If an array is not C-contiguous: the kernel would read its values in another order.
    """
    if not all(a.flags.c_contiguous for a in arguments if hasattr(a, "flags")):
        raise ValueError(f"{shape.kernel}: an array is not C-contiguous")
    given = [NULL if a is None else np.int32(a) if isinstance(a, int) else a for a in arguments]
    _kernel(file, shape.kernel)(shape.grid, shape.block, tuple(given))


def launch_elementwise(file: str, stem: str, like: Array, *arguments: Any) -> None:
    """Launch one thread for each value of `like`; the kernel's last parameter is their number."""
    kernel = f"{stem}_{like.dtype.name}"
    launch(file, elementwise(kernel, like.size), *arguments, np.int64(like.size))
