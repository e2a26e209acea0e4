"""Average pooling of windows of 2x2 in one pass; every other pooling is NumPy's."""

from collections.abc import Iterator

import numpy as np
from numba import int64, uint64
from numba.types import UniTuple

from npstyle.engine.arena import empty
from npstyle.engine.cpu import pooling
from npstyle.engine.cpu.compiled.kernel import FLOATS, GIVEN, kernel
from npstyle.engine.strips import Range, pieces_of
from npstyle.engine.threads import parallel_for
from npstyle.maths.array import Array

QUARTER = np.float32(0.25)


@kernel((FLOATS, UniTuple(int64, 2), GIVEN, UniTuple(int64, 2), int64))
def average_pairs(
    out: Array, rows: tuple[int, int], image: Array, widths: tuple[int, int], channels: int
) -> None:
    """Write some rows of the pooled image; `widths` are the image's and the pooled image's."""
    width, pooled = widths
    depth = uint64(channels)
    for y in range(rows[0], rows[1]):
        for x in range(pooled):
            to = uint64((y * pooled + x) * channels)
            above = uint64((2 * y * width + 2 * x) * channels)
            below = above + uint64(width) * depth
            for c in range(depth):
                first_row = image[above + c] + image[above + depth + c]
                total = first_row + image[below + c] + image[below + depth + c]
                out[to + c] = QUARTER * total


def avg_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Average over each window; see `npstyle.engine.cpu.pooling.avg_pool2d`."""
    height, width, channels = image.shape
    if (size, stride or size) != (2, 2) or min(height, width) < 2:
        return pooling.avg_pool2d(image, size, stride)
    out = empty((height // 2, width // 2, channels), np.float32)
    flat = image.reshape(-1), (width, width // 2), channels

    def work(queue: Iterator[Range]) -> None:
        for rows in queue:
            average_pairs(out.reshape(-1), rows, *flat)

    parallel_for(work, pieces_of(out))
    return out
