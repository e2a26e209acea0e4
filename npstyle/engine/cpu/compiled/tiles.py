"""Winograd's tile transforms as loops: every pixel is read once, every entry written once.

`npstyle.engine.cpu.winograd` has the formulas. The points 0, +-a, +-b and infinity make the
transform B^T d of a column of six numbers twelve multiplications with an addition each,

    y_0 = (d4 - (a^2 + b^2) d2) + a^2 b^2 d0
    y_5 = (d5 - (a^2 + b^2) d3) + a^2 b^2 d1
    y_1, y_2 = (d4 - b^2 d2) +- a (d3 - b^2 d1)
    y_3, y_4 = (d4 - a^2 d2) +- b (d3 - a^2 d1)

and A^T m of six products

    y_0 = m0 + (m1 + m2) + (m3 + m4)            y_1 = a (m1 - m2) + b (m3 - m4)
    y_2 = a^2 (m1 + m2) + b^2 (m3 + m4)         y_3 = a^3 (m1 - m2) + b^3 (m3 - m4) + m5

The loops take a few neighbouring tiles of a row at a time, with a block of their channels. Their
pixels lie in `block`, which stays in the nearest cache. There, each of the six rows is divided by
column modulo 4. So the same entry of neighbouring tiles is contiguous, and the innermost loops run
over tiles and channels together.

Derivative
----------
The derivative is the same convolution of the picture turned by 180 degrees, with U_k^T. `turned`
reads and writes the pixels in reverse order.
"""

from typing import Any

import numpy as np
from numba import boolean, int64, uint64
from numba.types import UniTuple

from npstyle.engine.cpu.compiled.kernel import FLOATS, GIVEN, MASK, Index, inlined, kernel
from npstyle.engine.cpu.winograd_tiles import POINTS
from npstyle.maths.array import Array

RUN = 512
"""Numbers of one entry of neighbouring tiles, channels included, that a block holds."""

MOST_CHANNELS = 256
"""Channels of a block at most."""

# The distances in a block. Rows a whole page apart would share the same lines of the cache.
C1, C2, C3 = (np.uint64(k * (RUN + 16)) for k in (1, 2, 3))
R1, R2, R3, R4, R5 = (np.uint64(4 * k * (RUN + 16)) for k in (1, 2, 3, 4, 5))
BLOCK = 24 * (RUN + 16)
"""Size of a block."""

ZERO = np.float32(0)
LOWEST = np.float32(-np.inf)
_, a, _, b, _ = POINTS
A1, A2, A3 = (np.float32(a**k) for k in (1, 2, 3))
B1, B2, B3 = (np.float32(b**k) for k in (1, 2, 3))
SUM, PRODUCT = np.float32(a**2 + b**2), np.float32(a**2 * b**2)

SHAPE = UniTuple(int64, 3)
RANGE = UniTuple(int64, 2)


@inlined
def _fill(block: Array, at: Index, count: Index) -> None:
    for q in range(at, at + count):
        block[q] = ZERO


@inlined
def _copy(block: Array, at: Index, image: Array, pixel: Index, count: Index) -> None:
    for q in range(count):
        block[at + q] = image[pixel + q]


@inlined
def _copy_masked(
    block: Array,
    at: Index,
    upstream: Array,
    pixel: Index,
    mask: Array,
    gate: Index,
    share: Any,
    count: Index,
) -> None:
    for q in range(count):
        block[at + q] = share * upstream[pixel + q] if mask[gate + q] > 0 else ZERO


@inlined
def _down(block: Array, at: Index, count: Index) -> None:
    """B^T d for the columns of the block, in place."""
    for q in range(at, at + count):
        d0, d1, d2 = block[q], block[q + R1], block[q + R2]
        d3, d4, d5 = block[q + R3], block[q + R4], block[q + R5]
        t, u = d4 - B2 * d2, d3 - B2 * d1
        v, w = d4 - A2 * d2, d3 - A2 * d1
        block[q] = (d4 - SUM * d2) + PRODUCT * d0
        block[q + R1] = t + A1 * u
        block[q + R2] = t - A1 * u
        block[q + R3] = v + B1 * w
        block[q + R4] = v - B1 * w
        block[q + R5] = (d5 - SUM * d3) + PRODUCT * d1


@inlined
def _across_ends(
    tiles: Array, to_0: Index, to_5: Index, block: Array, at: Index, tile: Index, count: Index
) -> None:
    for q in range(count):
        i = at + q
        d4, d5 = block[i + tile], block[i + tile + C1]
        tiles[to_0 + q] = (d4 - SUM * block[i + C2]) + PRODUCT * block[i]
        tiles[to_5 + q] = (d5 - SUM * block[i + C3]) + PRODUCT * block[i + C1]


@inlined
def _across_pair(
    tiles: Array,
    to_plus: Index,
    to_minus: Index,
    block: Array,
    at: Index,
    tile: Index,
    count: Index,
    points: Any,
) -> None:
    """Two entries, for the points p and -p; `points` = (p, the square of the other)."""
    p, square = points
    for q in range(count):
        i = at + q
        t = block[i + tile] - square * block[i + C2]
        u = block[i + C3] - square * block[i + C1]
        tiles[to_plus + q] = t + p * u
        tiles[to_minus + q] = t - p * u


@inlined
def _across(tiles: Array, to: Index, entry: Index, block: Array, tile: Index, count: Index) -> None:
    """(B^T d) B: for each row of the block, six entries of the tiles."""
    for row in range(6):
        at = uint64(row) * R1
        first = to + uint64(6 * row) * entry
        _across_ends(tiles, first, first + uint64(5) * entry, block, at, tile, count)
        second, fourth = first + entry, first + uint64(3) * entry
        _across_pair(tiles, second, second + entry, block, at, tile, count, (A1, B2))
        _across_pair(tiles, fourth, fourth + entry, block, at, tile, count, (B1, A2))


@inlined
def _tiles_of_block(columns: int, left: int, channels: int, block_channels: int, room: int) -> int:
    """Count the tiles that fit into a block, from one of `left` tiles of a row on."""
    if block_channels < channels:
        return 1
    return max(1, min(columns, left, room // channels))


@kernel(
    *((FLOATS, RANGE, RANGE, FLOATS, GIVEN, kind, SHAPE, int64, boolean) for kind in (MASK, GIVEN))
)
def to_tiles(
    tiles: Array,
    place: tuple[int, int],
    tile_range: tuple[int, int],
    block: Array,
    source: Array,
    mask: Array,
    shape: tuple[int, int, int],
    pooling: int,
    turned: bool,
) -> None:
    """Write B^T d B of some tiles; the image is surrounded by zeros.

    Parameters
    ----------
    tiles : flat array
        Receives entry k of tile t at place[0] + place[1] k + channels (t - the first tile).
    place : (int, int)
    tile_range : (first, end)
        Tiles, counted along the rows of tiles.
    block : flat array (BLOCK,)
        Space for intermediate results.
    source : flat array
        The image; or the upstream gradient of the ReLU, or of the pooling behind it.
    mask : flat array of the image's size
        The ReLU's output, or whether it is positive. Not read if `pooling` is 0.
    shape : (height, width, channels)
        Of the image.
    pooling : int
        0: `source` is the image. Otherwise the size of an average pooling behind the ReLU whose
        derivative is taken first; 1 for none.
    turned : bool
        Turn the image by 180 degrees.
    """
    height, width, channels = shape
    columns = (width + 3) // 4
    share = np.float32(1) / np.float32(max(pooling, 1) ** 2)
    pooled = height // max(pooling, 1), width // max(pooling, 1)
    most = min(channels, MOST_CHANNELS)
    tile = tile_range[0]
    while tile < tile_range[1]:
        row, column = tile // columns, tile % columns
        count = _tiles_of_block(columns - column, tile_range[1] - tile, channels, most, RUN - most)
        for first in range(0, channels, most):
            depth = uint64(min(most, channels - first))
            for k in range(6):
                y = 4 * row - 1 + k
                inside = 0 <= y < height
                y = height - 1 - y if turned else y
                for i in range(4 * count + 2):
                    x = 4 * column - 1 + i
                    at = uint64(k) * R1 + uint64(i & 3) * C1 + uint64(i >> 2) * depth
                    if not (inside and 0 <= x < width):
                        _fill(block, at, depth)
                        continue
                    x = width - 1 - x if turned else x
                    pixel = uint64((y * width + x) * channels + first)
                    if pooling == 0:
                        _copy(block, at, source, pixel, depth)
                    elif y // pooling < pooled[0] and x // pooling < pooled[1]:
                        window = (y // pooling) * pooled[1] + x // pooling
                        above = uint64(window * channels + first)
                        _copy_masked(block, at, source, above, mask, pixel, share, depth)
                    else:
                        _fill(block, at, depth)
            for k in range(4):
                _down(block, uint64(k) * C1, uint64(count + (1 if k < 2 else 0)) * depth)
            to = uint64(place[0] + (tile - tile_range[0]) * channels + first)
            _across(tiles, to, uint64(place[1]), block, depth, uint64(count) * depth)
        tile += count


@inlined
def _inverse_across(
    block: Array, at: Index, products: Array, start: Index, entry: Index, count: Index
) -> None:
    """M A for one row of the tiles' entries."""
    for q in range(count):
        i, k = at + q, start + q
        m1, m2 = products[k + entry], products[k + uint64(2) * entry]
        m3, m4 = products[k + uint64(3) * entry], products[k + uint64(4) * entry]
        s, t, u, v = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        block[i] = products[k] + s + u
        block[i + C1] = A1 * t + B1 * v
        block[i + C2] = A2 * s + B2 * u
        block[i + C3] = A3 * t + B3 * v + products[k + uint64(5) * entry]


@inlined
def _inverse_down(block: Array, at: Index, count: Index) -> None:
    """A^T (M A) for the columns of the block, in place."""
    for q in range(at, at + count):
        m1, m2, m3, m4 = block[q + R1], block[q + R2], block[q + R3], block[q + R4]
        s, t, u, v = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        block[q] = block[q] + s + u
        block[q + R1] = A1 * t + B1 * v
        block[q + R2] = A2 * s + B2 * u
        block[q + R3] = A3 * t + B3 * v + block[q + R5]


@inlined
def _put(
    out: Array,
    pixel: Index,
    block: Array,
    at: Index,
    bias: Array,
    channel: Index,
    least: Any,
    count: Index,
) -> None:
    for q in range(count):
        value = block[at + q] + bias[channel + q]
        out[pixel + q] = value if value > least else least


@kernel((FLOATS, SHAPE, RANGE, FLOATS, GIVEN, RANGE, GIVEN, boolean, boolean))
def from_tiles(
    out: Array,
    shape: tuple[int, int, int],
    tile_range: tuple[int, int],
    block: Array,
    products: Array,
    place: tuple[int, int],
    bias: Array,
    rectify: bool,
    turned: bool,
) -> None:
    """Write A^T M A + b of some tiles, or max(A^T M A + b, 0), to their places.

    Parameters
    ----------
    out : flat array
        The image, as `shape` says.
    shape : (height, width, channels)
    tile_range : (first, end)
    block : flat array (BLOCK,)
        Space for intermediate results.
    products : flat array
        M, ordered as the tiles of `to_tiles`.
    place : (int, int)
        As there.
    bias : flat array (channels,)
    rectify, turned : bool
        Whether the ReLU is applied, and whether the image is turned by 180 degrees.
    """
    height, width, channels = shape
    columns = (width + 3) // 4
    least = ZERO if rectify else LOWEST
    most = min(channels, MOST_CHANNELS)
    tile = tile_range[0]
    while tile < tile_range[1]:
        row, column = tile // columns, tile % columns
        count = _tiles_of_block(columns - column, tile_range[1] - tile, channels, most, RUN)
        for first in range(0, channels, most):
            depth = uint64(min(most, channels - first))
            run = uint64(count) * depth
            start = uint64(place[0] + (tile - tile_range[0]) * channels + first)
            entry = uint64(place[1])
            for k in range(6):
                at = uint64(k) * R1
                _inverse_across(block, at, products, start + uint64(6 * k) * entry, entry, run)
            for k in range(4):
                _inverse_down(block, uint64(k) * C1, run)
            for k in range(min(4, height - 4 * row)):
                y = height - 1 - (4 * row + k) if turned else 4 * row + k
                for x in range(4 * column, min(4 * (column + count), width)):
                    at = uint64(k) * R1 + uint64(x & 3) * C1
                    at += uint64((x >> 2) - column) * depth
                    turned_x = width - 1 - x if turned else x
                    pixel = uint64((y * width + turned_x) * channels + first)
                    _put(out, pixel, block, at, bias, uint64(first), least, depth)
        tile += count
