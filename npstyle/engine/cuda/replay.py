"""A CUDA graph of work that is done again and again with other numbers.

Launching a kernel from Python costs the host more time than a small kernel takes. CUDA can record
what is launched on a stream (stream capture), and launch the whole record at once. What is recorded
are the kernels and the places of their arrays, so

- nothing on the way may depend on a number that is brought to the host;
- what the work is given is copied to one and the same place each time;
- the arrays in between come from a memory pool of their own, which is kept and from which nobody
  else takes.

CuPy lets no call of cuBLAS into a record (at least up to version 14). There the record is cut: what
is replayed is graph, product, graph, product, ..., graph.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from npstyle.engine.cuda import arrays as card
from npstyle.engine.cuda.arrays import Array

T = TypeVar("T")


class NotRecordedError(Exception):
    """CuPy or CUDA does not let the work be recorded; the message says why, in one line."""


class Replay(Generic[T]):
    """A record of `work`, which is called as `work` would be.

    Parameters
    ----------
    work : callable
        From an array on the card to what the record returns: arrays that are written anew by each
        call.
    given : array on the card
        What `work` is called with first; later calls need the same shape and dtype.

    Raises
    ------
    NotRecordedError
        If the work cannot be recorded.
    """

    def __init__(self, work: Callable[[Array], T], given: Array) -> None:
        cupy = card.cupy()
        # What went before leaves its memory to this.
        cupy.get_default_memory_pool().free_all_blocks()
        self._pool = cupy.cuda.MemoryPool()
        self._given = given.copy()
        stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.get_current_stream().synchronize()
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            work(self._given)  # compiles what is not compiled yet, and fills the pool
            stream.synchronize()
            self._parts: list[Callable[[], Any]] = []
            try:
                with _recorded(stream, self._parts):
                    self._result = work(self._given)
            except RuntimeError as error:  # CuPy's errors are of this kind
                raise NotRecordedError(str(error).partition("\n")[0]) from error

    @property
    def memory(self) -> int:
        """Bytes that are kept for the record."""
        held: int = self._pool.total_bytes()
        return held

    def __call__(self, given: Array) -> T:
        """Do the work again; its result stands where that of the last call stood."""
        self._given[...] = given
        for part in self._parts:
            part()
        return self._result


@contextmanager
def _recorded(stream: Any, parts: list[Callable[[], Any]]) -> Iterator[None]:
    """Turn what is launched on a stream into parts that can be called."""

    def cut(call: Callable[[], None]) -> None:
        parts.extend([stream.end_capture().launch, call])
        stream.begin_capture()

    stream.begin_capture()
    try:
        with card.library_calls(cut):
            yield
        parts.append(stream.end_capture().launch)
    finally:
        _end(stream)


def _end(stream: Any) -> None:
    """CUDA wants every capture ended, also one that went wrong."""
    try:
        capturing = stream.is_capturing()
    except RuntimeError:  # CuPy's answer where an error has made the capture void
        capturing = True
    if capturing:
        with suppress(RuntimeError):
            stream.end_capture()
