"""Arrays and kernels on an NVIDIA card, through CuPy.

The chapters of `npstyle.engine.cuda.launch` are compiled for the card at their first use, and CuPy keeps what
was compiled on disk. Launches are asynchronous; a number that is taken to the host waits for them.

Arrays must be whole and contiguous, not views into others: the kernels read them four numbers at a
time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from npstyle.engine.cuda import launch as cuda

Array = Any
"""An array of CuPy."""

NULL = np.uint64(0)
"""The pointer of an array that is not wanted."""

_cut: Callable[[Callable[[], None]], None] | None = None


def cupy() -> Any:
    """CuPy, an extra of the package: imported where it is used, and only there."""
    return import_module("cupy")


def to_device(array: Any, dtype: Any = None) -> Array:
    """A copy of NumPy's array on the card, contiguous; what is so there already is left as it is.

    Parameters
    ----------
    array : array of any shape, of NumPy or CuPy
    dtype : dtype, optional
        Of the result; the array's own if not given.
    """
    return cupy().asarray(array, dtype, order="C")


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """A copy of a card's array in the host's memory; what is there already is left as it is."""
    copied: np.ndarray[Any, Any] = cupy().asnumpy(array) if on_gpu(array) else array
    return copied


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array with any content."""
    return cupy().empty(shape, dtype)


def numbers(arrays: Sequence[Array]) -> list[float]:
    """The values of arrays of one value each, on the host: one transfer, waited for."""
    found: list[float] = to_host(cupy().concatenate(arrays)).tolist() if arrays else []
    return found


def matmul(left: Array, right: Array) -> Array:
    """The product of two matrices, by cuBLAS."""
    out = empty((left.shape[0], right.shape[1]), left.dtype)

    def multiply() -> None:
        cupy().dot(left, right, out=out)

    (_cut or _call)(multiply)
    return out


def _call(work: Callable[[], None]) -> None:
    work()


@contextmanager
def library_calls(cut: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Give calls into a library to `cut`, which may do them later; see `npstyle.engine.cuda.replay`."""
    global _cut
    before, _cut = _cut, cut
    try:
        yield
    finally:
        _cut = before


@cache
def _module(chapter: str) -> Any:
    return cupy().RawModule(code=cuda.source(chapter), options=("-std=c++17",))


@cache
def _kernel(chapter: str, name: str) -> Any:
    return _module(chapter).get_function(name)


def forget_kernels() -> None:
    """Compile anew, for another CuPy."""
    _module.cache_clear()
    _kernel.cache_clear()


def launch(chapter: str, shape: cuda.Launch, *arguments: Any) -> None:
    """Launch a kernel.

    Parameters
    ----------
    chapter : str
        The source that it stands in.
    shape : Launch
        From `npstyle.engine.cuda.launch`.
    arguments
        As in the source: None for an array that is not wanted, int for an `int`; `long long`,
        `float` and `double` must come as NumPy's int64, float32 and float64.
    """
    given = [NULL if a is None else np.int32(a) if isinstance(a, int) else a for a in arguments]
    _kernel(chapter, shape.kernel)(shape.grid, shape.block, tuple(given))
