"""Worker threads, and the arrays that they work in.

A function of the engine cuts its layer into strips of rows, and `parallel_for` lets several worker
threads take strips from one queue. NumPy releases Python's lock inside copies and matrix products,
so the workers run at the same time. While `use_threads(n)` is active, the BLAS library under
`numpy.matmul` is limited to one thread: n workers with one BLAS thread each keep n cores busy
without competing for them. Otherwise the strips run one after another, and BLAS uses its own
threads.
"""

import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import threadpool_limits

from npstyle.engine.interrupts import is_interrupted, noted_interrupts, raise_if_interrupted
from npstyle.engine.machine import thread_count
from npstyle.maths.array import Array

T = TypeVar("T")
Worker: TypeAlias = Callable[[Iterator[T]], None]

_pool: ThreadPoolExecutor | None = None
_workers = 1
_workspace = threading.local()


class _Queue(Generic[T]):
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            if is_interrupted():
                raise StopIteration
            return next(self._items)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Run the engine inside this context on `count` worker threads.

    Parameters
    ----------
    count : int
        Number of worker threads, 1 or more. `physical_cores()` is a good choice.

    Raises
    ------
    InputError
        If `count` is less than 1.
    """
    global _pool, _workers
    count = thread_count(count)
    before = _pool, _workers
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(1, count - 1)) as pool:
        _pool, _workers = pool, count
        try:
            with noted_interrupts():
                yield
        finally:
            _pool, _workers = before


def worker_count() -> int:
    """Return the number of worker threads, for libraries that bring threads of their own."""
    return _workers


def parallel_for(worker: Worker[T], items: Iterable[T]) -> None:
    """Let every worker thread run `worker` on one shared queue of items.

    `worker` receives an iterator and takes items from it until none is left. It must not write to
    the same place for two items. A sum is written as one partial result per item and added up
    afterwards, so that the result does not depend on which thread was faster.

    Parameters
    ----------
    worker : callable
        Called once per thread with the shared iterator.
    items : iterable
        The pieces of work, for example ranges of rows.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C was pressed; the results of the workers are then incomplete.
    """
    items = list(items)
    queue = _Queue(items)
    with ExitStack() as calls:
        if _pool is not None:
            for _ in range(min(_workers, len(items)) - 1):
                held = [worker]
                calls.callback(_settle, _pool.submit(_run, held, queue), held)
        worker(queue)
    raise_if_interrupted()


def _run(held: list[Worker[T]], queue: Iterator[T]) -> None:
    """Run the worker in `held`: the pool keeps the list for a while, but not the worker."""
    held.pop()(queue)


def _settle(call: Future[None], held: list[Worker[T]]) -> None:
    """Cancel a call that has not begun; wait for any other, and raise what it raised."""
    if call.cancel():
        held.clear()
    else:
        call.result()


def workspace(values: int, dtype: DTypeLike) -> Array:
    """Return a flat array of `values` numbers, in memory that each thread reuses.

    A new array for each layer would make the operating system map and zero its pages each time. The
    memory is not from malloc: it would lie between arrays that come and go, and block their gaps.
    """
    size = values * np.dtype(dtype).itemsize
    held: NDArray[np.uint8] | None = getattr(_workspace, "array", None)
    if held is None or held.size < size:
        held = _workspace.array = np.frombuffer(mmap.mmap(-1, size), np.uint8)
    return held[:size].view(dtype)
