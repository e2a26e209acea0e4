"""Memory for the temporary arrays of an evaluation.

An evaluation makes dozens of large arrays and frees most of them soon after. If their memory
came from the operating system each time, it would be zeroed page by page. If the C library kept it,
it would be scattered in gaps between other arrays. An arena is one block of memory that outlives
the evaluation. A new array takes the lowest gap that is large enough, and its place is free again
as soon as no reference to the array is left.

While an arena is `lent`, the engine's functions allocate the arrays they return in it.
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
"""Arrays begin at multiples of this many bytes, a cache line."""

_lent: "Arena | None" = None


class Arena:
    """A block of memory, and the parts of it that are taken.

    Parameters
    ----------
    size : int
        Capacity in bytes. The operating system provides memory only for pages that were written to.
        An array that does not fit is allocated by NumPy.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, max(size, ALIGNMENT))
        if sys.platform == "linux":
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._taken: list[Part] = []  # in order
        self._watched: dict[Part, weakref.ref[NDArray[np.uint8]]] = {}
        self._released: deque[Part] = deque()  # by any thread, at any time
        self.used = 0
        """Bytes from the beginning to the highest end of any array so far."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array; one thread may call this at a time."""
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
        # Every view of the array that is returned keeps a reference to this one, its base.
        owner = np.frombuffer(self._memory, np.uint8, size, first)
        released = self._released  # not the arena itself, which may be freed before its arrays
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
        """Let `empty` allocate arrays in this arena."""
        global _lent
        before, _lent = _lent, self
        try:
            yield
        finally:
            _lent = before


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array, in the arena that is lent, or else from NumPy."""
    return np.empty(shape, dtype) if _lent is None else _lent.empty(shape, dtype)
