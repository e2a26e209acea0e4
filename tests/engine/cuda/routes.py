"""The convolutions of several kernels, run step by step as a launcher would."""

import numpy as np

from npstyle.engine.cuda import launch as cuda
from npstyle.engine.sizes import tile_count
from tests.engine.cuda.shim import Out, run


def winograd(
    to_tiles, given, U, bias, shape, filters, *, turned=0, rectify=0, strips=1, gate=False
):
    """Run the three steps over `strips` ranges of tile rows; returns what they wrote.

    given: the image; or, for winograd_to_tiles_backward, gradient, gate, activation, pooling.
    """
    height, width, channels = shape
    rows, columns = tile_count(height, width)
    out, out_gate = np.full((height, width, filters), np.nan, np.float32), None
    if gate:
        out_gate = np.full(out.shape, 7, np.uint8)
    step = -(-rows // strips)
    for first in range(0, rows, step):
        part = min(step, rows - first)
        tiles = part * columns
        launch = cuda.winograd_transform(to_tiles, part, columns, channels)
        geometry = (height, width, channels, *given[3:], first, part)
        V = run(launch, *given[:3], Out((36, tiles, channels)), *geometry)
        launch = cuda.winograd_product(tiles, filters, bool(turned))
        M = run(launch, V, U, Out((36, tiles, filters)), tiles, filters, channels)
        launch = cuda.winograd_transform("winograd_from_tiles", part, columns, filters)
        before = [Out(out.shape, initial=out)]
        before.append(Out(out.shape, np.uint8, initial=out_gate) if gate else None)
        written = run(
            launch, M, bias, *before, height, width, filters, first, part, turned, rectify
        )
        out, out_gate = written if gate else (written, None)
    return (out, out_gate) if gate else out


def tensor_conv(
    image,
    weight,
    precision,
    *,
    shape=None,
    bias=None,
    gate=None,
    pooling=1,
    turned=0,
    rectify=0,
    scale=None,
    multiprocessors=0,
    out_gate=False,
):
    """Pack the filters, convolve, and add the splits if there are several."""
    height, width, channels = shape or image.shape
    columns = weight.shape[2] if turned else weight.shape[3]
    words = cuda.tensor_words(precision, channels)
    padded = cuda.tensor_columns(columns)
    count = 9 * words * padded
    packed = run(
        cuda.elementwise(f"pack_filters_{precision}", count),
        weight,
        Out((9, words // 16, padded, 16), np.uint32),
        *weight.shape[2:],
        words,
        padded,
        turned,
    )
    launch = cuda.tensor_conv(precision, height, width, channels, columns, multiprocessors)
    geometry = (height, width, channels, columns, words, padded, pooling)
    scales = None if scale is None else np.array([scale], np.float32), 1.0
    result = (height, width, columns)
    written = Out(result, np.uint8) if out_gate else None
    if launch.grid[2] == 1:
        return run(
            launch, image, packed, bias, gate, Out(result), written, *geometry, rectify, *scales
        )
    parts = run(
        launch,
        image,
        packed,
        bias,
        gate,
        Out((launch.grid[2], *result)),
        None,
        *geometry,
        rectify,
        *scales,
    )
    combine = cuda.elementwise("combine_splits", parts[0].size)
    return run(
        combine, parts, bias, Out(result), written, len(parts), parts[0].size, columns, rectify
    )
