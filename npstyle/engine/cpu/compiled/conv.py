"""Convolution; a picture's first one, 3x3 from three channels, by compiled loops in float32.

The functions are those of `npstyle.engine.cpu.conv`, which compute every other convolution.
"""

from collections.abc import Iterator

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu import conv
from npstyle.engine.cpu.compiled.first import (
    CHANNELS,
    PADDED_TAPS,
    TAPS,
    add_taps,
    convolve,
    mask_rows,
)
from npstyle.engine.cpu.compiled.winograd import SMALL_PRODUCT
from npstyle.engine.strips import Range, even_strips
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array

STRIP_ROWS = 16
"""Rows of a strip."""

FIRST = (3, 3, CHANNELS, 1, 1)
"""Height, width and channels of the kernel, stride and padding of a first convolution."""


def conv2d(
    image: Array,
    kernel: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    *,
    rectify: bool = False,
) -> Array:
    """Convolve an image with a bank of filters; see `npstyle.engine.cpu.conv.conv2d`."""
    if (*kernel.shape[:3], stride, padding) != FIRST or image.ndim != 3 or bias is None:
        return conv.conv2d(image, kernel, bias, stride, padding, rectify=rectify)
    height, width, _ = image.shape
    out = empty((height, width, len(bias)), np.float32)
    flat = image.reshape(-1), (height, width), kernel.reshape(-1), bias

    def work(queue: Iterator[Range]) -> None:
        for rows in queue:
            padded = workspace(3 * CHANNELS * (width + 2), np.float32)
            convolve(out.reshape(-1), rows, *flat, padded, rectify)

    parallel_for(work, even_strips(height, STRIP_ROWS))
    return out


def conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    relu_mask: Array | None = None,
) -> Array:
    """Derivative of `conv2d` by the image; see `npstyle.engine.cpu.conv.conv2d_backward`."""
    if (*kernel.shape[:3], stride, padding) != FIRST or relu_mask is None:
        return conv.conv2d_backward(upstream, kernel, image_shape, stride, padding, relu_mask)
    height, width, filters = upstream.shape
    out = empty((height, width, CHANNELS), np.float32)
    matrix = np.zeros((filters, PADDED_TAPS), np.float32)
    matrix[:, :TAPS] = kernel.reshape(TAPS, filters).T
    most = max(1, SMALL_PRODUCT // matrix.size)
    flat = upstream.reshape(-1), relu_mask.reshape(-1)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            above, below = max(0, first - 1), min(height, end + 1)
            positions = (below - above) * width
            space = workspace(positions * (filters + PADDED_TAPS), np.float32)
            passed, products = np.split(space, [positions * filters])
            mask_rows(passed, *flat, above * width * filters)
            columns = passed.reshape(positions, filters)
            out_columns = products.reshape(positions, PADDED_TAPS)
            for part in range(0, positions, most):
                part_of = slice(part, part + most)
                np.matmul(columns[part_of], matrix, out=out_columns[part_of])
            add_taps(out.reshape(-1), (first, end), products, (above, below), (height, width))

    parallel_for(work, even_strips(height, STRIP_ROWS))
    return out
