"""Loops for a 3x3 convolution of a picture of three channels, the first of a network.

Its sums are short, so a general convolution spends most of its time on moving the pixels into place
and the results out. `convolve` makes one pass: for each pixel, the 27 products of the formula in
`npstyle.maths.conv` for all filters at once. For the derivative, `mask_rows` and `add_taps` are the
passes before and after a matrix product.
"""

from typing import Any

import numpy as np
from numba import boolean, int64, uint64
from numba.types import UniTuple

from npstyle.engine.cpu.compiled.kernel import FLOATS, GIVEN, MASK, Index, inlined, kernel
from npstyle.maths.array import Array

CHANNELS = 3

TAPS = 27
"""Taps of the kernel, channels included."""

PADDED_TAPS = 32
"""Columns of the matrix that the derivative multiplies by: whole vectors."""

ZERO = np.float32(0)
LOWEST = np.float32(-np.inf)

PAIR = UniTuple(int64, 2)


@inlined
def _nine(pixels: Array, at: Index, kernel: Array, row: Index, filters: Index) -> Any:
    """Sum of the products in one row of the kernel: three pixels of three channels."""
    k = row
    sum_of_pixel = pixels[at] * kernel[k]
    for tap in range(1, 9):
        sum_of_pixel += pixels[at + uint64(tap)] * kernel[k + uint64(tap) * filters]
    return sum_of_pixel


@kernel((FLOATS, PAIR, GIVEN, PAIR, GIVEN, GIVEN, FLOATS, boolean))
def convolve(
    out: Array,
    rows: tuple[int, int],
    image: Array,
    size: tuple[int, int],
    kernel: Array,
    bias: Array,
    padded: Array,
    rectify: bool,
) -> None:
    """Write some rows of the convolution with padding 1, or of its ReLU.

    Parameters
    ----------
    out : flat array
        The whole result (height, width, filters).
    rows : (first, end)
    image : flat array
        (height, width, 3).
    size : (height, width)
    kernel : flat array
        (3, 3, 3, filters).
    bias : array (filters,)
    padded : flat array (3 (width + 2) 3,)
        Space for three rows of pixels with zeros beside them.
    rectify : bool
    """
    height, width = size
    filters = uint64(len(bias))
    least = ZERO if rectify else LOWEST
    length = uint64(CHANNELS * (width + 2))
    nine = uint64(9) * filters
    for y in range(rows[0], rows[1]):
        for i in range(3):
            row = uint64(i) * length
            for q in range(length):
                padded[row + q] = ZERO
            if 0 <= y + i - 1 < height:
                source = uint64((y + i - 1) * CHANNELS * width)
                for q in range(uint64(CHANNELS * width)):
                    padded[row + uint64(CHANNELS) + q] = image[source + q]
        for x in range(width):
            at = uint64(CHANNELS * x)
            pixel = uint64(y * width + x) * filters
            for f in range(filters):
                value = bias[f] + _nine(padded, at, kernel, f, filters)
                value += _nine(padded, at + length, kernel, f + nine, filters)
                value += _nine(padded, at + length + length, kernel, f + nine + nine, filters)
                out[pixel + f] = value if value > least else least


@kernel((FLOATS, GIVEN, MASK, int64), (FLOATS, GIVEN, GIVEN, int64))
def mask_rows(out: Array, upstream: Array, mask: Array, start: int) -> None:
    """Write the upstream gradient from `start` on where the ReLU passes it, else 0."""
    first = uint64(start)
    for q in range(uint64(len(out))):
        out[q] = upstream[first + q] if mask[first + q] > 0 else ZERO


@kernel((FLOATS, PAIR, GIVEN, PAIR, PAIR))
def add_taps(
    out: Array,
    rows: tuple[int, int],
    products: Array,
    stored: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Add up the products of a pixel's neighbours, each at its tap.

    Parameters
    ----------
    out : flat array
        dL/dX, (height, width, 3).
    rows : (first, end)
        Rows to write.
    products : flat array
        (rows, width, PADDED_TAPS): for each position of the upstream gradient, its product with
        every tap (i, j, c) of the kernel.
    stored : (first, end)
        Rows of the upstream gradient in `products`.
    size : (height, width)
    """
    width = size[1]
    for y in range(rows[0], rows[1]):
        for x in range(width):
            red, green, blue = ZERO, ZERO, ZERO
            for i in range(3):
                v = y + 1 - i
                if stored[0] <= v < stored[1]:
                    for j in range(3):
                        u = x + 1 - j
                        if 0 <= u < width:
                            place = (v - stored[0]) * width + u
                            at = uint64(place * PADDED_TAPS + 9 * i + 3 * j)
                            red += products[at]
                            green += products[at + uint64(1)]
                            blue += products[at + uint64(2)]
            pixel = uint64((y * width + x) * CHANNELS)
            out[pixel], out[pixel + uint64(1)], out[pixel + uint64(2)] = red, green, blue
