"""CUDA graphs: repeat the same work on other numbers with one launch.

Launching a kernel from Python takes the host longer than a small kernel takes to run. CUDA can
record the launches on a stream (stream capture) and launch the whole record at once. The record
contains the kernels and the addresses of their arrays. Therefore:

- No step of the work may depend on a number that is copied to the host.
- The input is copied to the same address each time.
- The intermediate arrays come from a memory pool of their own, which is kept and not used for
  anything else.

CuPy does not allow calls of cuBLAS in a record (at least up to version 14). The record is cut
there: a replay runs graph, product, graph, product, ..., graph.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from npstyle.engine.cuda import arrays
from npstyle.maths.array import Array

T = TypeVar("T")


class NotRecordedError(Exception):
    """CuPy or CUDA cannot record the work; the message gives the reason in one line."""


class Replay(Generic[T]):
    """A record of `work`, called like `work` itself.

    Parameters
    ----------
    work : callable
        Takes an array on the GPU. It returns the arrays that each later call overwrites.
    given : array on the GPU
        Input of the first call; later inputs must have its shape and dtype.

    Raises
    ------
    NotRecordedError
        If the work cannot be recorded.
    """

    def __init__(self, work: Callable[[Array], T], given: Array) -> None:
        cupy = arrays.cupy()
        # Return unused blocks of the common pool, so that this record's pool can take them.
        cupy.get_default_memory_pool().free_all_blocks()
        self._pool = cupy.cuda.MemoryPool()
        self._given = given.copy()
        stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.get_current_stream().synchronize()
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            work(self._given)  # compiles the kernels, and fills the pool
            stream.synchronize()
            self._parts: list[Callable[[], Any]] = []
            try:
                with _recorded(stream, self._parts):
                    self._result = work(self._given)
            except RuntimeError as error:  # base class of CuPy's errors
                raise NotRecordedError(str(error).partition("\n")[0]) from error

    @property
    def memory(self) -> int:
        """Bytes that the record's pool holds."""
        held: int = self._pool.total_bytes()
        return held

    def __call__(self, given: Array) -> T:
        """Repeat the work. The result is in the same arrays as that of the last call."""
        self._given[...] = given
        for part in self._parts:
            part()
        return self._result


@contextmanager
def _recorded(stream: Any, parts: list[Callable[[], Any]]) -> Iterator[None]:
    """Record the launches on a stream; append the graphs and library calls to `parts`."""

    def cut(call: Callable[[], None]) -> None:
        parts.extend([stream.end_capture().launch, call])
        stream.begin_capture()

    stream.begin_capture()
    try:
        with arrays.library_calls(cut):
            yield
        parts.append(stream.end_capture().launch)
    finally:
        _end(stream)


def _end(stream: Any) -> None:
    """End the capture: CUDA requires this even after an error."""
    try:
        capturing = stream.is_capturing()
    except RuntimeError:  # CuPy raises this after an error has invalidated the capture
        capturing = True
    if capturing:
        with suppress(RuntimeError):
            stream.end_capture()
