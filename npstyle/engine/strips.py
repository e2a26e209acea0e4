"""Division of a layer's rows among threads.

A division never depends on the number of threads: matrix products round differently for strips of
other heights, and the result must be the same with any number of threads.
"""

from itertools import pairwise

from npstyle.maths.array import Array

Range = tuple[int, int]
"""First row, and the row after the last."""

EVEN = 4
"""`even_strips` makes a multiple of this many strips, so 1, 2 or 4 threads finish together."""

PIECES = 16
"""Number of pieces into which elementwise work on an array is divided."""

SMALL = 1 << 19
"""Number of entries up to which elementwise work is not divided: one thread finishes before a
second one has started."""

SMALL_PRODUCT = 1 << 16
"""Number of entries of a matrix up to which one thread multiplies it."""


def strips(rows: int, height: int) -> list[Range]:
    """Divide `rows` rows into ranges of at most `height` rows, as equal as possible."""
    return pieces(rows, -(-rows // max(1, height)))


def strips_of(array: Array, size: int) -> list[Range]:
    """Divide an array's rows into strips of at most `size` bytes, or into single rows."""
    return strips(len(array), size // max(1, array[0].nbytes))


def even_strips(rows: int, height: int, multiple: int = EVEN) -> list[Range]:
    """Divide as `strips` does, but into a multiple of `multiple` ranges."""
    return pieces(rows, _even_count(rows, height, multiple))


def longest_even_strip(rows: int, height: int, multiple: int = EVEN) -> int:
    """Return the rows of the longest range of `even_strips`, without making them."""
    count = min(rows, _even_count(rows, height, multiple))
    return -(-rows // count) if rows > 0 else 0


def _even_count(rows: int, height: int, multiple: int) -> int:
    count = -(-rows // max(1, height))
    return -(-count // multiple) * multiple


def evenness(entries: int) -> int:
    """Return the `multiple` for `even_strips`: 1 where there is little to multiply, else `EVEN`."""
    return 1 if entries <= SMALL_PRODUCT else EVEN


def pieces(rows: int, count: int = PIECES) -> list[Range]:
    """Divide `rows` rows into `count` ranges, or into single rows if there are fewer."""
    count = min(rows, count)
    return list(pairwise(rows * k // count for k in range(count + 1))) if rows > 0 else []


def pieces_of(array: Array) -> list[Range]:
    """Divide an array's rows for elementwise work; a small array stays in one piece."""
    return pieces(len(array), 1 if array.size <= SMALL else PIECES)
