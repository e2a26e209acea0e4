"""Convolution by Winograd's F(4x4, 3x3), with the transforms of the tiles as compiled loops.

The formulas and the functions are those of `npstyle.engine.cpu.winograd`, in float32. The tiles are
processed in strips that stay in the cache: the loops transform them, `numpy.matmul` multiplies, and
the loops transform the products back. Bias and ReLU, the ReLU's derivative and average pooling's
are part of the loops.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu.compiled.tiles import BLOCK, from_tiles, to_tiles
from npstyle.engine.sizes import WINDOW, tile_count
from npstyle.engine.strips import Range, even_strips, longest_even_strip, pieces
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array

ENTRIES = WINDOW**2
"""Entries of a tile, and products for each."""

CACHE_BYTES = 4 << 20
"""Filters up to this size, in bytes, stay in the cache while a strip is processed."""

LARGE_FILTERS = 16 << 20
"""Bytes of filters from which reading them for each strip takes long."""

STRIP_TILES = 192
"""Tiles of a strip at most: enough rows for a fast product, few enough to stay in the cache."""

FEWEST_STRIP_TILES = 100
"""Tiles that make a fast product at least."""

SMALL_PRODUCT = 10**6
"""Multiplications of a product up to which OpenBLAS multiplies without copying its factors."""

STRIP_TILES_FOR_LARGE_FILTERS = 384
"""The same for large filters."""

STRIPS = 2
"""The number of strips is a multiple of this, whatever the number of threads."""

FILTERS_PER_TILE = 256
"""A layer of at most channels in x channels out / FILTERS_PER_TILE tiles is processed as a whole,
so that its filters are read once in all."""

LAYER_PIECES = 4
"""Number of pieces into which the transforms of a layer processed as a whole are divided."""

PRODUCT_PIECES = 12
"""Number of pieces into which its 36 products are divided."""

NO_MASK = np.zeros(0, np.bool_)


def winograd_conv2d(
    image: Array, filters: Array, bias: Array | None = None, *, rectify: bool = False
) -> Array:
    """Convolve with 3x3 filters, stride 1 and padding 1; the same function as `conv2d`.

    Parameters
    ----------
    image : float32 array (height, width, channels in)
    filters : float32 array (36, channels in, channels out)
        From `transform_filters`.
    bias : float32 array (channels out,), optional
        0 by default.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    float32 array (height, width, channels out)
    """
    if bias is None:
        bias = np.zeros(filters.shape[2], np.float32)
    return _convolve(_Layer(image, NO_MASK, _sizes(image), 0, filters, bias, rectify, False))


def winograd_conv2d_backward(
    upstream: Array, filters: Array, relu_mask: Array | None = None, pooling: int = 1
) -> Array:
    """Derivative of `winograd_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : float32 array (height, width, channels out)
        dL/dZ. With `relu_mask` it is dL/dF, where F = max(Z, 0); with `pooling` it is dL/dY, where
        Y is the average pooling of F.
    filters : float32 array (36, channels in, channels out)
        Those of the forward pass.
    relu_mask : array (height, width, channels out), optional
        The booleans F > 0, or F itself. Required with `pooling`.
    pooling : int
        Size and stride of an average pooling that followed the ReLU; 1 for none.

    Returns
    -------
    float32 array (height, width, channels in)
        dL/dX.
    """
    flipped = filters.transpose(0, 2, 1)
    if filters.nbytes <= CACHE_BYTES:  # the copy takes less time than it saves in the products
        flipped = np.ascontiguousarray(flipped)
    no_bias = np.zeros(filters.shape[1], np.float32)
    if relu_mask is None:
        mask, shape, pooling = NO_MASK, _sizes(upstream), 0
    else:
        mask, shape = relu_mask, _sizes(relu_mask)
    return _convolve(_Layer(upstream, mask, shape, pooling, flipped, no_bias, False, True))


def _sizes(array: Array) -> tuple[int, int, int]:
    height, width, channels = array.shape
    return height, width, channels


def few_tiles(height: int, width: int, filters: Array) -> bool:
    """Whether a layer of this size is processed as a whole instead of in strips."""
    return prod(tile_count(height, width)) * FILTERS_PER_TILE <= prod(filters.shape[1:])


def tile_strips(height: int, width: int, filters: Array) -> list[Range]:
    """Divide the tiles of a layer of this size into strips."""
    return even_strips(prod(tile_count(height, width)), _strip_tiles(filters), STRIPS)


def _strip_tiles(filters: Array) -> int:
    """Return the most tiles that a strip should have."""
    small = SMALL_PRODUCT // prod(filters.shape[1:])
    if filters.nbytes > LARGE_FILTERS:
        return STRIP_TILES_FOR_LARGE_FILTERS
    return min(STRIP_TILES, small) if small >= FEWEST_STRIP_TILES else STRIP_TILES


def strip_values(height: int, width: int, filters: Array) -> int:
    """Count the numbers that a thread keeps for a strip: a block, tiles and products."""
    tiles = prod(tile_count(height, width))
    longest = longest_even_strip(tiles, _strip_tiles(filters), STRIPS)
    return BLOCK + ENTRIES * longest * sum(filters.shape[1:])


@dataclass(frozen=True)
class _Layer:
    """One convolution; the attributes are the arguments of the loops in `tiles`.

    Attributes
    ----------
    source : array
    mask : array
    shape : (height, width, channels in)
    pooling : int
    filters : array (36, channels in, channels out)
    bias : array (channels out,)
    rectify, turned : bool
    """

    source: Array
    mask: Array
    shape: tuple[int, int, int]
    pooling: int
    filters: Array
    bias: Array
    rectify: bool
    turned: bool

    def read(self, tiles: Array, place: Range, tile_range: Range, block: Array) -> None:
        """Transform some tiles of the source."""
        source, mask = self.source.reshape(-1), self.mask.reshape(-1)
        to_tiles(
            tiles, place, tile_range, block, source, mask, self.shape, self.pooling, self.turned
        )

    def write(
        self, out: Array, tile_range: Range, block: Array, products: Array, place: Range
    ) -> None:
        """Transform the products of some tiles back."""
        flat, ways = out.reshape(-1), (self.rectify, self.turned)
        from_tiles(flat, out.shape, tile_range, block, products, place, self.bias, *ways)


def _convolve(layer: _Layer) -> Array:
    """Convolve in strips or as a whole."""
    height, width, _ = layer.shape
    out = empty((height, width, layer.filters.shape[2]), np.float32)
    if few_tiles(height, width, layer.filters):
        _convolve_whole(layer, out)
    else:
        _convolve_in_strips(layer, out)
    return out


def _convolve_in_strips(layer: _Layer, out: Array) -> None:
    """Every thread transforms, multiplies and writes one strip of tiles after another."""
    height, width, channels = layer.shape
    outputs = layer.filters.shape[2]
    ranges = tile_strips(height, width, layer.filters)
    values = strip_values(height, width, layer.filters)

    def strip_by_strip(queue: Iterator[Range]) -> None:
        space = workspace(values, np.float32)
        for first, end in queue:
            count = end - first
            middle = BLOCK + ENTRIES * count * channels
            block, tiles = space[:BLOCK], space[BLOCK:middle]
            products = space[middle : middle + ENTRIES * count * outputs]
            layer.read(tiles, (0, count * channels), (first, end), block)
            np.matmul(
                tiles.reshape(ENTRIES, count, channels),
                layer.filters,
                out=products.reshape(ENTRIES, count, outputs),
            )
            layer.write(out, (first, end), block, products, (0, count * outputs))

    parallel_for(strip_by_strip, ranges)


def _convolve_whole(layer: _Layer, out: Array) -> None:
    """Every thread computes some of the 36 products for all tiles, so each filter is read once.

    A layer of few tiles spends most of its time on reading its filters.
    """
    channels, outputs = layer.filters.shape[1:]
    count = prod(tile_count(*layer.shape[:2]))
    tiles = empty((ENTRIES, count, channels), np.float32)
    products = empty((ENTRIES, count, outputs), np.float32)

    def read(queue: Iterator[Range]) -> None:
        for first, end in queue:
            block = workspace(BLOCK, np.float32)
            place = first * channels, count * channels
            layer.read(tiles.reshape(-1), place, (first, end), block)

    def multiply(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.matmul(tiles[first:end], layer.filters[first:end], out=products[first:end])

    def write(queue: Iterator[Range]) -> None:
        for first, end in queue:
            block = workspace(BLOCK, np.float32)
            place = first * outputs, count * outputs
            layer.write(out, (first, end), block, products.reshape(-1), place)

    parts = pieces(count, LAYER_PIECES)
    parallel_for(read, parts)
    parallel_for(multiply, pieces(ENTRIES, PRODUCT_PIECES))
    parallel_for(write, parts)
