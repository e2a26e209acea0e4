"""The machine: how many threads work, how they share a layer, how much memory is free.

A kernel cuts its layer into strips of rows and lets several worker threads draw strips from one
shared queue (`share`). NumPy releases Python's lock inside copies and matrix products, so the
workers truly run side by side. While `threads(n)` is active, the BLAS library under
`numpy.matmul` is held to one thread: n workers with one BLAS thread each keep n cores busy, and
nobody's threads fight anybody else's. Outside of `threads` a kernel runs its strips one after
another, and BLAS uses its own threads.

Ctrl-C is taken between two strips: an exception in the middle of a lock could leave the lock
broken. So while `threads(n)` is active, SIGINT is noted, and `share` raises KeyboardInterrupt; who
shares nothing, because a GPU does the work, asks `raise_if_interrupted` now and then.
"""

import ctypes
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import threadpool_limits

from npstyle.engine.crew import Crew
from npstyle.errors import InputError

T = TypeVar("T")

M_MMAP_THRESHOLD = -3
"""A parameter of glibc's mallopt, from malloc.h: larger arrays have memory of their own."""

MMAP_THRESHOLD = 1 << 21
"""Pictures are larger; what a strip needs is smaller, and is asked for all the time."""

EVEN = 4
"""Strips come in multiples of this."""

PIECES = 16
"""Pieces that work on every entry of an array is shared in."""

SMALL = 1 << 19
"""Entries up to which a thread alone is done before a second one has woken up."""

LITTLE = 1 << 16
"""The same for the entries of a matrix that is multiplied."""

_crew: Crew | None = None
_workers = 1
_interrupted = threading.Event()
_workspace = threading.local()


def give_memory_back() -> None:
    """Let large arrays give their memory back to the operating system as soon as they are let go.

    glibc begins to keep some of it, in places that fit no other array: a tenth of the peak. Other C
    libraries are left to their own ways.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)


class _Queue(Generic[T]):
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            if _interrupted.is_set():
                raise StopIteration
            return next(self._items)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the kernels inside this context on `count` worker threads.

    Parameters
    ----------
    count : int
        Number of worker threads, 1 or more; `physical_cores()` is the sane choice.

    Raises
    ------
    InputError
        If `count` is less than 1.
    """
    global _crew, _workers
    count = thread_count(count)
    before = _crew, _workers
    with threadpool_limits(1, user_api="blas"), closing(Crew(count - 1)) as crew:
        _crew, _workers = crew, count
        try:
            with _noted_interrupts():
                yield
        finally:
            _crew, _workers = before


@contextmanager
def _noted_interrupts() -> Iterator[None]:
    """Let SIGINT set a flag for `share`, where Python lets us (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: _interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupted.clear()


def on_gpu(array: Any) -> bool:
    """Whether an array lies on a card: then it speaks CUDA's array interface, as CuPy's do."""
    return hasattr(array, "__cuda_array_interface__")


def parallel_for(worker: Callable[[Iterator[T]], None], items: Iterable[T]) -> None:
    """Let every worker thread run `worker` on one shared queue of `items`.

    `worker` receives an iterator, takes items from it until none is left, and may keep scratch
    arrays of its own between items. Whatever it writes must be disjoint from item to item; a sum
    is written as one partial result per item and added up afterwards, so that the outcome does
    not depend on which thread was faster.

    Parameters
    ----------
    worker : callable
        Called once per thread with the shared iterator.
    items : iterable
        The pieces of work, for example ranges of rows.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C was pressed; what the workers write is then incomplete.
    """
    items = list(items)
    queue = _Queue(items)
    with ExitStack() as calls:
        if _crew is not None:
            for _ in range(min(_workers, len(items)) - 1):
                calls.callback(_crew.call(partial(worker, queue)).settle)
        worker(queue)
    raise_if_interrupted()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since `threads(n)` began to note it."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


def workspace(values: int, dtype: DTypeLike) -> NDArray[Any]:
    """Flat array of `values` numbers, the same memory for a thread each time.

    Made anew for each layer, such arrays would cost the operating system a page at a time.
    """
    size = values * np.dtype(dtype).itemsize
    held: NDArray[np.uint8] | None = getattr(_workspace, "array", None)
    if held is None or held.size < size:
        # Not from malloc: it would lie among arrays that come and go, and stand in their way.
        held = _workspace.array = np.frombuffer(mmap.mmap(-1, size), np.uint8)
    return held[:size].view(dtype)


def strips(rows: int, height: int) -> list[tuple[int, int]]:
    """Ranges (first, end) of at most `height` rows that cover `rows` rows, as equal as can be."""
    return pieces(rows, -(-rows // max(1, height)))


def even_strips(rows: int, height: int, multiple: int = EVEN) -> list[tuple[int, int]]:
    """As `strips`, but a multiple of `multiple` in number: no worker is left alone with the last.

    How many workers there are plays no part, so the rounding does not depend on it either.
    """
    count = -(-rows // max(1, height))
    return pieces(rows, -(-count // multiple) * multiple)


def evenness(entries: int) -> int:
    """The multiple for `even_strips`: any number of strips will do, if there is little work."""
    return 1 if entries <= LITTLE else EVEN


def pieces(rows: int, count: int = PIECES) -> list[tuple[int, int]]:
    """Ranges (first, end) that cover `rows` rows, `count` of them if there are as many rows."""
    count = min(rows, count)
    return list(pairwise(rows * k // count for k in range(count + 1))) if rows > 0 else []


def pieces_of(array: NDArray[Any]) -> list[tuple[int, int]]:
    """Ranges of an array's rows for work on every entry: one only, if there is little of it."""
    return pieces(len(array), 1 if array.size <= SMALL else PIECES)


def thread_count(asked_for: int | None) -> int:
    """The number of threads asked for, or one per physical core; InputError if less than 1."""
    if asked_for is None:
        return physical_cores()
    if asked_for < 1:
        raise InputError(f"--threads {asked_for}: give a number of threads of 1 or more")
    return asked_for


def physical_cores() -> int:
    """Count the physical cores this process may use; hyper-threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def held_memory() -> int:
    """Bytes of memory that this process holds now."""
    held: int = psutil.Process().memory_info().rss
    return held


def available_memory() -> int:
    """Bytes of memory that this process can still take without swapping."""
    free: int = psutil.virtual_memory().available
    limit = _container_limit()
    if limit is not None:
        free = min(free, max(0, limit - held_memory()))
    return free


def _container_limit() -> int | None:
    """Read the memory limit of the control group (a container), where there is one."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None
