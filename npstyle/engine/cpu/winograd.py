"""Convolution with 3x3 filters by Winograd's minimal filtering: a quarter of the multiplications.

Formula
-------
Lavin and Gray, "Fast algorithms for convolutional neural networks" (arXiv 1509.09308), F(4x4, 3x3).
A tile d of 6x6 pixels gives 4x4 outputs. With the filter g of 3x3,

    Y = A^T [ (G g G^T) * (B^T d B) ] A            (* entry by entry)

takes 36 products where the plain sum takes 144. Over channels they become 36 matrix products, one
for each entry k of the transformed tile, with T tiles as rows:

    M_k = V_k U_k,     V_k: T x channels in,     U_k: channels in x channels out

The part of the filters, U = G g G^T, does not depend on the picture. `transform_filters` computes
it once.

The transforms of the tiles are matrix products, too. Sums and differences would need fewer
operations, but each would be a pass over the memory, and a product is one pass. B^T d B is two
products: d B for whole rows of the picture, of which neighbouring tiles share two, then B^T for six
of these rows at a time, in place. The inverse transform writes each output to its own place, and a
single product is fastest: with the entries of a tile as one column,

    vec(A^T m A) = (A^T x A^T) vec(m)     (x: Kronecker)

is a matrix of 16 x 36 for all tiles and channels at once.

Derivative
----------
The derivative with respect to the image is a convolution with the kernel flipped by 180 degrees and
its channels swapped (`npstyle.engine.cpu.conv`). Flipping the kernel is equivalent to flipping
everything else: read the tile backwards, write the outputs backwards, and use U_k^T. Let d be the
6x6 numbers of dL/dZ around a tile, and J the reversal of their order. For one pair of channels,

    dL/dX = J A^T [ (G g G^T) * (B^T J d J B) ] A J

So one U serves both passes.

The tiles are processed in strips of rows that stay in the cache. The neighbouring operations of the
network are fused with them: bias and ReLU are applied to the strip that is written, and the ReLU's
derivative and average pooling's to the strip that is read. In float32 the result differs from
`conv2d` by rounding: in VGG-19 by 2e-7 to 6e-7 of it, where plain sums are off by 1e-7 to 4e-7.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu.pooling import avg_pool2d_backward_rows
from npstyle.engine.cpu.relu import as_mask
from npstyle.engine.cpu.winograd_tiles import (
    FROM_TILES,
    B,
    Fill,
    G,
    flat,
    front,
    transform,
    write,
)
from npstyle.engine.sizes import TILE, WINDOW, tile_count
from npstyle.engine.strips import Range, even_strips, pieces
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array

STRIP_BYTES = 3 << 20
"""Memory of a strip's transformed tiles, in bytes; it fits the cache together with the products."""

STRIPS_PER_FILTERS = 3
"""A strip takes at least the filters' memory divided by this, since each strip reads all
filters."""

FEW_TILES = 1 / 2
"""A layer with fewer tiles than this times its channels is processed as a whole."""

STRIPS = 2
"""The number of strips is a multiple of this, for any number of threads."""

LAYER_PIECES = 2
"""Number of pieces into which the transforms of a layer processed as a whole are divided."""

PRODUCT_PIECES = 4
"""Number of pieces into which its 36 products are divided."""

CACHE_BYTES = 4 << 20
"""Filters up to this size, in bytes, stay in the cache, where each strip may read all of them."""

FEW_TILES_FOR_SMALL_FILTERS = 1 / 8
"""`FEW_TILES` for a layer whose filters stay in the cache."""

FEW_VALUES = 1 << 17
"""Entries of such a layer's transformed tiles up to which one thread computes all of them."""


def transform_filters(kernel: Array) -> Array:
    """U = G g G^T for every pair of channels.

    Parameters
    ----------
    kernel : array (3, 3, channels in, channels out)
        Any float dtype.

    Returns
    -------
    array (36, channels in, channels out)
        Of the same dtype.
    """
    both = np.kron(G, G)
    out = np.empty((WINDOW**2, *kernel.shape[2:]), kernel.dtype)
    for channel in range(kernel.shape[2]):  # one at a time, since the product is float64
        out[:, channel] = both @ kernel[:, :, channel].reshape(9, -1)
    return out


def winograd_conv2d(
    image: Array, filters: Array, bias: Array | None = None, *, rectify: bool = False
) -> Array:
    """Convolve with 3x3 filters, stride 1 and padding 1; the same function as `conv2d`.

    Parameters
    ----------
    image : array (height, width, channels in)
        Any float dtype.
    filters : array (36, channels in, channels out)
        From `transform_filters`, in the image's dtype.
    bias : array (channels out,), optional
        0 by default.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (height, width, channels out)
    """
    from_tiles = FROM_TILES
    if bias is not None:  # the bias is a 37th product, which every output adds
        from_tiles = np.hstack([FROM_TILES, np.ones((TILE**2, 1))])

    def fill(out: Array, first: int, end: int) -> None:
        out[:] = image[first:end]

    return _convolve(fill, image.shape, filters, bias, rectify, _typed(B.T, from_tiles, image))


def winograd_conv2d_backward(
    upstream: Array, filters: Array, relu_mask: Array | None = None, pooling: int = 1
) -> Array:
    """Derivative of `winograd_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : array (height, width, channels out)
        dL/dZ. With `relu_mask` it is dL/dF, where F = max(Z, 0); with `pooling` it is dL/dY, where
        Y is the average pooling of F.
    filters : array (36, channels in, channels out)
        Those of the forward pass.
    relu_mask : array (height, width, channels out), optional
        The booleans F > 0, or F itself. Required with `pooling`.
    pooling : int
        Size and stride of an average pooling that followed the ReLU; 1 for none.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    flipped = filters.transpose(0, 2, 1)
    shape = upstream.shape if relu_mask is None else relu_mask.shape

    def fill(out: Array, first: int, end: int) -> None:
        """Write rows of dL/dZ."""
        if relu_mask is None:
            out[:] = upstream[first:end]
        elif pooling == 1:
            np.multiply(upstream[first:end], as_mask(relu_mask[first:end]), out=out)
        else:
            avg_pool2d_backward_rows(upstream, out, first, pooling)
            out *= as_mask(relu_mask[first:end])

    matrices = _typed(B.T[:, ::-1], FROM_TILES[::-1], upstream)
    return _convolve(fill, shape, flipped, None, False, matrices)


def strip_bytes(filters: Array) -> int:
    """Memory that a strip's transformed tiles should take, in bytes; its products take as much."""
    return max(STRIP_BYTES, int(filters.nbytes // STRIPS_PER_FILTERS))


def few_tiles(height: int, width: int, filters: Array) -> bool:
    """Whether a layer of this size is processed as a whole instead of in strips."""
    few = FEW_TILES if filters.nbytes > CACHE_BYTES else FEW_TILES_FOR_SMALL_FILTERS
    return math.prod(tile_count(height, width)) <= few * min(filters.shape[1:])


@dataclass(frozen=True)
class _Layer:
    """One convolution: its input, its filters and its output.

    Attributes
    ----------
    fill : callable
        Writes rows of the input.
    shape : (height, width, channels in)
    filters : array (36, channels in, channels out)
    bias : array (channels out,) or None
    rectify : bool
    to_tiles, from_tiles : arrays (6, 6) and (16, 36), or (16, 37) with a bias
    out : array (height, width, channels out)
    """

    fill: Fill
    shape: tuple[int, ...]
    filters: Array
    bias: Array | None
    rectify: bool
    to_tiles: Array
    from_tiles: Array
    out: Array

    def write(self, products: Array, result: Array, first: int, end: int) -> None:
        """Transform the products of the tile rows first..end back, and write them to `out`."""
        if self.bias is not None:
            products[-1] = self.bias
        np.matmul(self.from_tiles, flat(products), out=flat(result))
        columns = tile_count(*self.shape[:2])[1]
        write(self.out[TILE * first : TILE * end], result, columns, self.rectify)


def _typed(to_tiles: Array, from_tiles: Array, like: Array) -> tuple[Array, Array]:
    return (
        np.ascontiguousarray(to_tiles, like.dtype),
        np.ascontiguousarray(from_tiles, like.dtype),
    )


def _convolve(
    fill: Fill,
    shape: tuple[int, ...],
    filters: Array,
    bias: Array | None,
    rectify: bool,
    matrices: tuple[Array, Array],
) -> Array:
    """Convolve an image of this shape, in strips or as a whole."""
    out = empty((*shape[:2], filters.shape[2]), matrices[0].dtype)
    layer = _Layer(fill, shape, filters, bias, rectify, *matrices, out)
    if few_tiles(shape[0], shape[1], filters):
        _convolve_whole(layer)
    else:
        _convolve_in_strips(layer)
    return out


def _convolve_in_strips(layer: _Layer) -> None:
    """Every thread transforms, multiplies and writes one strip of tile rows after another."""
    height, width, channels = layer.shape
    outputs, dtype = layer.out.shape[2], layer.out.dtype
    rows, columns = tile_count(height, width)
    count = layer.from_tiles.shape[1]  # 36 products, and one for the bias
    row_values = columns * max(WINDOW**2 * channels, count * outputs)
    height_of_strip = strip_bytes(layer.filters) // (row_values * dtype.itemsize)
    ranges = even_strips(rows, height_of_strip, STRIPS)
    half = max(end - first for first, end in ranges) * row_values

    def strip_by_strip(queue: Iterator[Range]) -> None:
        first_half, second_half = workspace(2 * half, dtype).reshape(2, half)
        for first, end in queue:
            tiles = (end - first) * columns
            transformed = front(first_half, (WINDOW**2, tiles, channels))
            halves = first_half, second_half
            transform(transformed, halves, layer.to_tiles, layer.fill, layer.shape, (first, end))
            products = front(second_half, (count, tiles, outputs))
            np.matmul(transformed, layer.filters, out=products[: WINDOW**2])
            layer.write(products, front(first_half, (TILE**2, tiles, outputs)), first, end)

    parallel_for(strip_by_strip, ranges)


def _convolve_whole(layer: _Layer) -> None:
    """Every thread computes some of the 36 products for all tiles, so each filter is read once.

    A layer of few tiles spends most of its time on reading its filters.
    """
    height, width, channels = layer.shape
    outputs, dtype = layer.out.shape[2], layer.out.dtype
    rows, columns = tile_count(height, width)
    count = layer.from_tiles.shape[1]

    def to_tiles(queue: Iterator[Range]) -> None:
        for first, end in queue:
            tiles = transformed[:, first * columns : end * columns]
            first_half, second_half = workspace(2 * tiles.size, dtype).reshape(2, -1)
            halves = first_half, second_half
            transform(tiles, halves, layer.to_tiles, layer.fill, layer.shape, (first, end))

    def multiply(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.matmul(transformed[first:end], layer.filters[first:end], out=products[first:end])

    def finish(queue: Iterator[Range]) -> None:
        for first, end in queue:
            tiles = (end - first) * columns
            result = workspace(TILE**2 * tiles * outputs, dtype).reshape(TILE**2, tiles, outputs)
            layer.write(products[:, first * columns : end * columns], result, first, end)

    transformed = empty((WINDOW**2, rows * columns, channels), dtype)
    parts = pieces(rows, 1 if transformed.size <= FEW_VALUES else LAYER_PIECES)
    parallel_for(to_tiles, parts)
    products = empty((count, rows * columns, outputs), dtype)
    parallel_for(multiply, pieces(WINDOW**2, PRODUCT_PIECES))
    parallel_for(finish, parts)
