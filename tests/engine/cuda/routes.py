"""Convolutions that take several kernels, run step by step like the launchers."""

import numpy as np

from npstyle.engine.cuda import launch as cuda
from npstyle.engine.sizes import tile_count
from tests.engine.cuda.shim import Out, run


def winograd(to_tiles, given, U, bias, shape, filters, *, flipped=0, rectify=0, strips=1):
    """Run the three steps over `strips` ranges of tile rows, and return their output.

    given: the image; or, for winograd_to_tiles_backward, upstream, mask, activation, pooling.
    """
    height, width, channels = shape
    rows, columns = tile_count(height, width)
    out = np.full((height, width, filters), np.nan, np.float32)
    step = -(-rows // strips)
    for first in range(0, rows, step):
        part = min(step, rows - first)
        tiles = part * columns
        launch = cuda.winograd_transform(to_tiles, part, columns, channels)
        geometry = (height, width, channels, *given[3:], first, part)
        V = run(launch, *given[:3], Out((36, tiles, channels)), *geometry)
        launch = cuda.winograd_product(tiles, filters, bool(flipped))
        M = run(launch, V, U, Out((36, tiles, filters)), tiles, filters, channels)
        launch = cuda.winograd_transform("winograd_from_tiles", part, columns, filters)
        sizes = (height, width, filters, first, part, flipped, rectify)
        out = run(launch, M, bias, Out(out.shape, initial=out), *sizes)
    return out


def tensor_conv(
    image,
    kernel,
    precision,
    *,
    shape=None,
    bias=None,
    mask=None,
    pooling=1,
    flipped=0,
    rectify=0,
    scale=None,
    multiprocessors=0,
):
    """Pack the filters, convolve, and add the partial sums if there are several."""
    height, width, channels = shape or image.shape
    columns = kernel.shape[2] if flipped else kernel.shape[3]
    words = cuda.tensor_words(precision, channels)
    padded = cuda.tensor_columns(columns)
    count = 9 * words * padded
    packed = run(
        cuda.elementwise(f"pack_filters_{precision}", count),
        kernel,
        Out((9, words // 16, padded, 16), np.uint32),
        *kernel.shape[2:],
        words,
        padded,
        flipped,
    )
    launch = cuda.tensor_conv(precision, height, width, channels, columns, multiprocessors)
    geometry = (height, width, channels, columns, words, padded, pooling)
    scales = None if scale is None else np.array([scale], np.float32), 1.0
    result = (height, width, columns)
    given = (image, packed, bias, mask)
    if launch.grid[2] == 1:
        return run(launch, *given, Out(result), *geometry, rectify, *scales)
    parts = run(launch, *given, Out((launch.grid[2], *result)), *geometry, rectify, *scales)
    combine = cuda.elementwise("combine_splits", parts[0].size)
    return run(combine, parts, bias, Out(result), len(parts), parts[0].size, columns, rectify)
