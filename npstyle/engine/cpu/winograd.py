"""Convolution with 3x3 filters by Winograd's minimal filtering, a quarter of the multiplications.

Formula
-------
Lavin and Gray, "Fast algorithms for convolutional neural networks" (arXiv 1509.09308), F(4x4, 3x3).
A tile d of 6x6 pixels gives 4x4 outputs; with the filter g of 3x3

    Y = A^T [ (G g G^T) * (B^T d B) ] A            (* entry by entry)

so that 36 products do what 144 do in the plain sum. Over channels the products become 36 matrix
products, one for each entry k of the transformed tile, with T tiles as rows:

    M_k = V_k U_k,     V_k: T x channels in,     U_k: channels in x channels out

The filters' part U = G g G^T does not depend on the picture and is made once (`transform_filters`).
The transforms of tiles are matrix products, too. Sums and differences would need fewer operations,
but each is a pass over the memory, and a product is one. B^T d B is two products: d B for whole
rows of the picture, of which neighbours share two, then B^T for six of these rows at a time, which
lie where they are. On the way out everything goes to a place of its own, and one product is best:
with the entries of a tile in one column,

    vec(A^T m A) = (A^T x A^T) vec(m)     (x: Kronecker)

a matrix of 16 x 36 for all tiles and channels at once.

Derivative
----------
The derivative with respect to the image is a convolution with the kernel turned by 180 degrees and
its channels swapped (`npstyle.engine.cpu.conv`). Turning the kernel is turning everything else: read the
tile backwards, write the outputs backwards, and take U_k^T. The same U serves both ways.

The tiles are worked on in strips of rows that stay in the cache, and so are the neighbours of the
convolution in a network: the bias and the ReLU go into the strip that is written, and the ReLU's
derivative into the strip that is read. In float32 the result differs from `conv2d` by rounding, in
VGG-19 by 2e-7 to 6e-7 of it, where plain sums are off by 1e-7 to 4e-7.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import empty
from npstyle.engine.cpu.pooling import avg_pool2d_backward_rows
from npstyle.engine.cpu.relu import positive
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.sizes import TILE, tile_count
from npstyle.engine.threads import even_strips, on_gpu, parallel_for, pieces, workspace

Array = NDArray[Any]
Fill = Callable[[Array, int, int], None]

WINDOW = 6
"""Inputs per tile and side."""

STRIP_BYTES = 3 << 20
"""Memory of a strip's transformed tiles: what fits the cache together with the product."""

STRIPS_PER_FILTERS = 3
"""A strip is no smaller than the filters' memory divided by this: each strip reads all of them."""

FEW_TILES = 1 / 2
"""A layer with fewer tiles than this times its channels is worked on as a whole."""

STRIPS = 2
"""Strips come in multiples of this. Products round otherwise if strips have another height, so how
many threads there are must play no part in it."""

LAYER_PIECES = 2
"""Pieces in which the transforms of a layer worked on as a whole are shared."""

PRODUCT_PIECES = 4
"""Pieces in which its 36 products are shared."""

CACHE_BYTES = 4 << 20
"""Filters up to this size are read from the cache, and each strip may read all of them."""

FEW_TILES_FOR_SMALL_FILTERS = 1 / 8
"""The same for a layer whose filters are in the cache."""

FEW_VALUES = 1 << 17
"""Entries of such a layer's transformed tiles up to which one thread alone makes them."""

POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Where the polynomials are evaluated. The usual 0, 1, -1, 2, -2 make transforms of whole numbers,
of no use in a matrix product, and lose twice as much to rounding."""


def _matrices() -> tuple[Array, Array, Array]:
    """A (6 x 4), B (6 x 6) and G (6 x 3) for POINTS and infinity.

    A filter is a polynomial g(p) = g0 + g1 p + g2 p^2. Products of polynomials are products of
    their values, and Lagrange's formula leads back (Toom and Cook); the transpose of such a
    multiplication is a filter. With N_p = prod_(q != p) (p - q), the row of a point p is

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


def transform_filters(weight: Array) -> Array:
    """U = G g G^T for every pair of channels.

    Parameters
    ----------
    weight : array (3, 3, channels in, channels out)
        Any float dtype.

    Returns
    -------
    array (36, channels in, channels out)
        Of the same dtype.
    """
    both = np.kron(G, G)
    if on_gpu(weight):
        return gpu.transform_filters(weight, both)
    out = np.empty((WINDOW**2, *weight.shape[2:]), weight.dtype)
    for channel in range(weight.shape[2]):  # in float64, and not much of that at once
        out[:, channel] = both @ weight[:, :, channel].reshape(9, -1)
    return out


def winograd_conv2d(
    image: Array, filters: Array, bias: Array | None = None, *, rectify: bool = False
) -> Array:
    """Convolve with 3x3 filters, stride 1, padding 1; the same function as `conv2d`.

    Parameters
    ----------
    image : array (height, width, channels in)
        Any float dtype.
    filters : array (36, channels in, channels out)
        From `transform_filters`, in the image's dtype.
    bias : array (channels out,), optional
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (height, width, channels out)
    """
    if on_gpu(image):
        return gpu.winograd_conv2d(image, filters, bias, rectify=rectify)
    from_tiles = FROM_TILES
    if bias is not None:  # one more product, which is 1 times the bias for every output
        from_tiles = np.hstack([FROM_TILES, np.ones((TILE**2, 1))])

    def fill(out: Array, first: int, end: int) -> None:
        out[:] = image[first:end]

    return _convolve(fill, image.shape, image.dtype, filters, bias, rectify, B.T, from_tiles)


def winograd_conv2d_backward(
    gradient: Array, filters: Array, activation: Array | None = None, pooling: int = 1
) -> Array:
    """Derivative of `winograd_conv2d` with respect to the image.

    Parameters
    ----------
    gradient : array (height, width, channels out)
        dL/dZ; or, with `activation`, dL/dF where F = max(Z, 0); or, with `pooling`, dL/dY of
        the average pooling of F.
    filters : array (36, channels in, channels out)
        Of the forward pass.
    activation : array (height, width, channels out), optional
        F, what the forward pass with `rectify` returned, or the booleans F > 0: the gradient
        passes there.
    pooling : int
        Size and stride of an average pooling that came after the ReLU. Then the activation must be
        given.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.winograd_conv2d_backward(gradient, filters, activation, pooling)
    to_tiles, from_tiles = B.T[:, ::-1], FROM_TILES[::-1]
    turned = filters.transpose(0, 2, 1)
    shape = gradient.shape if activation is None else activation.shape

    def fill(out: Array, first: int, end: int) -> None:
        """Write rows of dL/dZ."""
        if activation is None:
            out[:] = gradient[first:end]
        elif pooling == 1:
            np.multiply(gradient[first:end], positive(activation[first:end]), out=out)
        else:
            avg_pool2d_backward_rows(gradient, out, first, pooling)
            out *= positive(activation[first:end])

    return _convolve(fill, shape, gradient.dtype, turned, None, False, to_tiles, from_tiles)


def strip_bytes(filters: Array) -> int:
    """Memory that a strip's transformed tiles should fill; its products fill as much again."""
    return max(STRIP_BYTES, int(filters.nbytes // STRIPS_PER_FILTERS))


def few_tiles(height: int, width: int, filters: Array) -> bool:
    """Whether a layer of this size is worked on as a whole instead of in strips."""
    few = FEW_TILES if filters.nbytes > CACHE_BYTES else FEW_TILES_FOR_SMALL_FILTERS
    return math.prod(tile_count(height, width)) <= few * min(filters.shape[1:])


def _convolve(
    fill: Fill,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    filters: Array,
    bias: Array | None,
    rectify: bool,
    to_tiles: Array,
    from_tiles: Array,
) -> Array:
    """Convolve an image of this shape; `fill` writes some of its rows where they are wanted."""
    height, width, channels = shape
    outputs = filters.shape[2]
    rows, columns = tile_count(height, width)
    out = empty((height, width, outputs), dtype)
    to_tiles = np.ascontiguousarray(to_tiles, dtype)
    from_tiles = np.ascontiguousarray(from_tiles, dtype)
    count = from_tiles.shape[1]  # 36 products, and one for the bias
    row_values = columns * max(WINDOW**2 * channels, count * outputs)

    def write(products: Array, result: Array, first: int, end: int) -> None:
        if bias is not None:
            products[-1] = bias
        np.matmul(from_tiles, _flat(products), out=_flat(result))
        _write(out[TILE * first : TILE * end], result, columns, rectify)

    def strip_by_strip(queue: Iterator[tuple[int, int]]) -> None:
        half = strip * row_values
        first_half, second_half = workspace(2 * half, dtype).reshape(2, half)
        for first, end in queue:
            tiles = (end - first) * columns
            transformed = _front(first_half, (WINDOW**2, tiles, channels))
            _transform(transformed, first_half, second_half, to_tiles, fill, shape, first, end)
            products = _front(second_half, (count, tiles, outputs))
            np.matmul(transformed, filters, out=products[: WINDOW**2])
            write(products, _front(first_half, (TILE**2, tiles, outputs)), first, end)

    if not few_tiles(height, width, filters):
        height_of_strip = strip_bytes(filters) // (row_values * dtype.itemsize)
        ranges = even_strips(rows, height_of_strip, STRIPS)
        strip = max(end - first for first, end in ranges)
        parallel_for(strip_by_strip, ranges)
        return out

    # A layer of few tiles spends its time on reading the filters. Here every thread takes some of
    # the 36 products for all tiles, so that each filter is read once.

    def transform(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            tiles = transformed[:, first * columns : end * columns]
            first_half, second_half = workspace(2 * tiles.size, dtype).reshape(2, -1)
            _transform(tiles, first_half, second_half, to_tiles, fill, shape, first, end)

    def multiply(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            np.matmul(transformed[first:end], filters[first:end], out=products[first:end])

    def finish(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            tiles = (end - first) * columns
            result = workspace(TILE**2 * tiles * outputs, dtype).reshape(TILE**2, tiles, outputs)
            write(products[:, first * columns : end * columns], result, first, end)

    transformed = empty((WINDOW**2, rows * columns, channels), dtype)
    parts = pieces(rows, 1 if transformed.size <= FEW_VALUES else LAYER_PIECES)
    parallel_for(transform, parts)
    products = empty((count, rows * columns, outputs), dtype)
    parallel_for(multiply, pieces(WINDOW**2, PRODUCT_PIECES))
    parallel_for(finish, parts)
    return out


def _flat(tiles: Array) -> Array:
    """View (count, ..., channels) as the matrix (count, ... x channels)."""
    return tiles.reshape(len(tiles), -1)


def _front(flat: Array, shape: tuple[int, ...]) -> Array:
    """The front of a flat array in this shape."""
    return flat[: math.prod(shape)].reshape(shape)


def _transform(
    out: Array,
    one: Array,
    other: Array,
    to_tiles: Array,
    fill: Fill,
    shape: tuple[int, ...],
    first: int,
    end: int,
) -> None:
    """Write B^T d B of each tile of the tile rows first..end; zeros outside the image.

    out: (36, tiles, channels), which may begin where `one` does; one, other: flat, each as large as
    `out`, for the steps on the way there; to_tiles: B^T.
    """
    height, width, channels = shape
    columns, tile_rows = tile_count(height, width)[1], end - first
    rows = TILE * tile_rows + 2
    padded = _front(other, (rows, TILE * columns + 2, channels))
    _read(padded, fill, height, width, first, end)

    # d B: entry l of every tile, for each row of pixels
    windows = _front(one, (WINDOW, rows, columns, channels))
    windows[:] = _windows(padded, columns)
    across = _front(other, (WINDOW, rows, columns, channels))
    np.matmul(to_tiles, _flat(windows), out=_flat(across))

    # B^T (d B): for each l and each row of tiles, six rows become entries k
    entry, row = across.strides[:2]
    six_rows = _view(
        across,
        (WINDOW, tile_rows, WINDOW, columns * channels),
        (entry, TILE * row, row, across.itemsize),
    )
    tiles = out.reshape(WINDOW, WINDOW, tile_rows, columns * channels)
    np.matmul(to_tiles, six_rows, out=tiles.transpose(1, 2, 0, 3))


def _read(padded: Array, fill: Fill, height: int, width: int, first: int, end: int) -> None:
    """Fill the rows of pixels under the tile rows first..end, and zeros around the image."""
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
    """View of a contiguous array with other strides; NumPy's `as_strided` takes five times as long.

    Parts of it may be the same memory: it is for reading only.
    """
    return np.ndarray(shape, array.dtype, array, strides=strides)


def _write(out: Array, result: Array, columns: int, rectify: bool) -> None:
    """Put 4x4 outputs per tile (16, tiles, channels out) in their places."""
    tiles = result.reshape(TILE, TILE, -1, columns, out.shape[2])
    rows = tiles.shape[2]
    whole = out.shape[:2] == (TILE * rows, TILE * columns)
    to = out if whole else np.empty((TILE * rows, TILE * columns, out.shape[2]), out.dtype)
    places = to.reshape(rows, TILE, columns, TILE, -1).transpose(1, 3, 0, 2, 4)
    if rectify:
        np.maximum(tiles, 0, out=places)
    else:
        places[:] = tiles
    if not whole:
        out[:] = to[: out.shape[0], : out.shape[1]]
