"""The matrices and the tiles of Winograd's convolution.

The formulas are in `npstyle.engine.cpu.winograd`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npstyle.engine.sizes import TILE, WINDOW, tile_count
from npstyle.engine.strips import Range
from npstyle.maths.array import Array

Fill = Callable[[Array, int, int], None]
"""Writes the input's rows first..end into an array (rows, width, channels)."""

POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Points at which the polynomials are evaluated. The usual 0, 1, -1, 2, -2 make transforms of whole
numbers, from which a matrix product gains nothing, and lose twice as much to rounding."""


def _matrices() -> tuple[Array, Array, Array]:
    """A (6 x 4), B (6 x 6) and G (6 x 3) for POINTS and infinity.

    A filter is a polynomial g(p) = g0 + g1 p + g2 p^2. The product of two polynomials has the
    products of their values, and Lagrange's formula recovers its coefficients (Toom and Cook). The
    transpose of such a multiplication is a filter. With N_p = prod_(q != p) (p - q), the row of a
    point p is

        A: 1, p, p^2, p^3      G: (1, p, p^2) / N_p      B^T: coefficients of prod_(q != p) (x - q)

    and infinity takes the highest coefficients.
    """
    A, BT, G = np.zeros((WINDOW, TILE)), np.zeros((WINDOW, WINDOW)), np.zeros((WINDOW, 3))
    for row, p in enumerate(POINTS):
        others = [q for q in POINTS if q != p]
        A[row] = p ** np.arange(TILE)
        G[row] = p ** np.arange(3) / np.prod([p - q for q in others])
        BT[row, : len(POINTS)] = np.poly(others)[::-1]
    A[-1, -1] = G[-1, -1] = 1
    BT[-1] = np.poly(POINTS)[::-1]
    return A, BT.T, G


A, B, G = _matrices()
FROM_TILES = np.kron(A.T, A.T)


def flat(tiles: Array) -> Array:
    """View (count, ..., channels) as the matrix (count, ... x channels)."""
    return tiles.reshape(len(tiles), -1)


def front(array: Array, shape: tuple[int, ...]) -> Array:
    """Return the front of a flat array in this shape."""
    return array[: math.prod(shape)].reshape(shape)


def transform(
    out: Array,
    halves: tuple[Array, Array],
    to_tiles: Array,
    fill: Fill,
    shape: tuple[int, ...],
    tile_rows: Range,
) -> None:
    """Write B^T d B of each tile of some tile rows; the image is surrounded by zeros.

    Parameters
    ----------
    out : array (36, tiles, channels)
    halves : two flat arrays, each as large as `out`
        Space for intermediate results; `out` may begin where the first does.
    to_tiles : array (6, 6)
        B^T.
    fill : callable
        Writes rows of the input.
    shape : (height, width, channels)
        Of the input.
    tile_rows : (first, end)
    """
    height, width, channels = shape
    one, other = halves
    first, end = tile_rows
    columns, count = tile_count(height, width)[1], end - first
    rows = TILE * count + 2
    padded = front(other, (rows, TILE * columns + 2, channels))
    _read(padded, fill, height, width, tile_rows)

    # d B: entry l of every tile, for each row of pixels
    windows = front(one, (WINDOW, rows, columns, channels))
    windows[:] = _windows(padded, columns)
    across = front(other, (WINDOW, rows, columns, channels))
    np.matmul(to_tiles, flat(windows), out=flat(across))

    # B^T (d B): for each l and each row of tiles, six rows become the entries k
    entry, row = across.strides[:2]
    six_rows = _view(
        across,
        (WINDOW, count, WINDOW, columns * channels),
        (entry, TILE * row, row, across.itemsize),
    )
    tiles = out.reshape(WINDOW, WINDOW, count, columns * channels)
    np.matmul(to_tiles, six_rows, out=tiles.transpose(1, 2, 0, 3))


def _read(padded: Array, fill: Fill, height: int, width: int, tile_rows: Range) -> None:
    """Fill the rows of pixels under some tile rows, with zeros around the image."""
    first, end = tile_rows
    padded[:, 0] = 0
    padded[:, width + 1 :] = 0
    top, bottom = TILE * first - 1, TILE * end + 1
    start, stop = max(top, 0), min(bottom, height)
    padded[: start - top] = 0
    fill(padded[start - top : stop - top, 1 : width + 1], start, stop)
    padded[stop - top : bottom - top] = 0


def _windows(padded: Array, columns: int) -> Array:
    """View (6, rows, columns, channels): in each row, entry l of every tile."""
    row, column, channel = padded.strides
    return _view(
        padded,
        (WINDOW, len(padded), columns, padded.shape[2]),
        (column, row, TILE * column, channel),
    )


def _view(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """View a contiguous array with other strides; NumPy's `as_strided` takes five times as long.

    Parts of the view may share memory: it is for reading only.
    """
    return np.ndarray(shape, array.dtype, array, strides=strides)


def write(out: Array, result: Array, columns: int, rectify: bool) -> None:
    """Put 4x4 outputs per tile, (16, tiles, channels out), in their places."""
    tiles = result.reshape(TILE, TILE, -1, columns, out.shape[2])
    rows = tiles.shape[2]
    whole = out.shape[:2] == (TILE * rows, TILE * columns)
    to: Any = out if whole else np.empty((TILE * rows, TILE * columns, out.shape[2]), out.dtype)
    places = to.reshape(rows, TILE, columns, TILE, -1).transpose(1, 3, 0, 2, 4)
    if rectify:
        np.maximum(tiles, 0, out=places)
    else:
        places[:] = tiles
    if not whole:
        out[:] = to[: out.shape[0], : out.shape[1]]
