"""Memory for the arrays that come and go in an evaluation.

An evaluation makes some dozens of large arrays and lets most of them go soon after. Taken from the
operating system each time, their memory would have to be filled with zeros, page by page; kept by
the C library, it would lie wherever other arrays left a gap. An arena is one piece of memory that
outlives the evaluation: a new array takes the lowest gap that is large enough, and its place is
free again as soon as nobody looks at the array any more.

While an arena is `lent`, the engine's functions take the arrays that they return from it.
"""

import math
import mmap
import sys
import weakref
from bisect import insort
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Part = tuple[int, int]
"""First byte and end."""

ALIGNMENT = 64
"""Bytes of a line of the cache; arrays begin at multiples."""

_lent: "Arena | None" = None


class Arena:
    """A piece of memory, and which parts of it are taken.

    Parameters
    ----------
    size : int
        Bytes that it can hold at most. The operating system gives memory only for what has been
        written to. An array that does not fit any more is made outside.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, max(size, ALIGNMENT))
        if sys.platform == "linux":
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._taken: list[Part] = []  # in order
        self._watched: dict[Part, weakref.ref[NDArray[np.uint8]]] = {}
        self._released: deque[Part] = deque()  # by any thread, at any time
        self.used = 0
        """Bytes from the beginning to the highest end that an array has had."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with any content; to be called by one thread at a time."""
        while self._released:
            free = self._released.popleft()
            self._taken.remove(free)
            del self._watched[free]
        size = math.prod(shape) * np.dtype(dtype).itemsize
        first = self._lowest_gap(size)
        if size == 0 or first + size > len(self._memory):
            return np.empty(shape, dtype)
        part = first, first + size
        insort(self._taken, part)
        self.used = max(self.used, part[1])
        # Every view of an array holds on to the array at the bottom, and that is this one.
        owner = np.frombuffer(self._memory, np.uint8, size, first)
        released = self._released  # not the arena itself: it may go before its arrays do
        self._watched[part] = weakref.ref(owner, lambda _: released.append(part))
        return owner.view(dtype).reshape(shape)

    def _lowest_gap(self, size: int) -> int:
        first = 0
        for taken, end in self._taken:
            if first + size <= taken:
                break
            first = -(-end // ALIGNMENT) * ALIGNMENT
        return first

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let `empty` take arrays from this arena."""
        global _lent
        before, _lent = _lent, self
        try:
            yield
        finally:
            _lent = before


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array with any content, from the arena that is lent, or else of NumPy's own."""
    return np.empty(shape, dtype) if _lent is None else _lent.empty(shape, dtype)
