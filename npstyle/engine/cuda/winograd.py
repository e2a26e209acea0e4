"""Convolution with 3x3 filters by Winograd's minimal filtering on a GPU, in float32.

The method and its derivative are described in `npstyle.engine.cpu.winograd`; the kernels are in
`winograd.cu`.
"""

import numpy as np

from npstyle.engine.cpu.winograd_tiles import G
from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch, matmul, place
from npstyle.engine.cuda.relu import mask_pointers
from npstyle.engine.sizes import tile_count
from npstyle.maths.array import Array

STRIP_BYTES = 1 << 29
"""Bytes for the transformed tiles of a strip and their products. Taller images are convolved in
several strips, which bounds the memory; the result has the same bits."""


def transform_filters(kernel: Array) -> Array:
    """Transform the filters for `winograd_conv2d`: U = G g G^T for every pair of channels.

    Parameters
    ----------
    kernel : array (3, 3, channels in, channels out)

    Returns
    -------
    array (36, channels in, channels out)
        In the kernel's dtype, computed in float64.
    """
    both_sides = place(np.kron(G, G))
    filters = matmul(both_sides, kernel.reshape(9, -1).astype(np.float64))
    return filters.astype(kernel.dtype).reshape(36, *kernel.shape[2:])


def winograd_conv2d(
    image: Array, filters: Array, bias: Array | None = None, *, rectify: bool = False
) -> Array:
    """Convolve with 3x3 filters, stride 1, padding 1.

    Parameters
    ----------
    image : float32 array (height, width, channels in)
    filters : float32 array (36, channels in, channels out)
        From `transform_filters`.
    bias : float32 array (channels out,), optional
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    float32 array (height, width, channels out)
    """
    to_tiles = "winograd_to_tiles"
    return _winograd(
        to_tiles, (image,), (), image.shape, filters, bias, flipped=False, rectify=rectify
    )


def winograd_conv2d_backward(
    upstream: Array, filters: Array, relu_mask: Array | None = None, pooling: int = 1
) -> Array:
    """Derivative of `winograd_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : float32 array (height, width, channels out)
        dL/dZ; with `relu_mask`, dL/dF for F = max(Z, 0); with `pooling`, dL/dY of an average
        pooling of F, (height // pooling, width // pooling, channels out).
    filters : float32 array (36, channels in, channels out)
        As in `winograd_conv2d`.
    relu_mask : array (height, width, channels out), optional
        The booleans F > 0, or F itself. Required with `pooling`.
    pooling : int
        Size and stride of the average pooling that followed the ReLU; 1: none.

    Returns
    -------
    float32 array (height, width, channels in)
        dL/dX.
    """
    shape = upstream.shape if relu_mask is None else relu_mask.shape
    arrays = (upstream, *mask_pointers(relu_mask))
    to_tiles = "winograd_to_tiles_backward"
    return _winograd(
        to_tiles, arrays, (pooling,), shape, filters, None, flipped=True, rectify=False
    )


def winograd_rows(shape: tuple[int, ...], outputs: int) -> int:
    """Rows of tiles that are convolved at a time: as many as `STRIP_BYTES` holds, at least one.

    Parameters
    ----------
    shape : (height, width, channels)
        Of the image that is read.
    outputs : int
        Channels that are written.
    """
    rows, columns = tile_count(*shape[:2])
    row_bytes = 36 * columns * (shape[2] + outputs) * 4
    return min(rows, max(1, STRIP_BYTES // row_bytes))


def _winograd(
    to_tiles: str,
    arrays: tuple[Array | None, ...],
    pooling: tuple[int, ...],
    shape: tuple[int, ...],
    filters: Array,
    bias: Array | None,
    *,
    flipped: bool,
    rectify: bool,
) -> Array:
    """Run the three steps of `winograd.cu` for one strip of tile rows after another."""
    height, width, channels = shape
    outputs = filters.shape[1 if flipped else 2]
    out = empty((height, width, outputs), np.float32)
    rows, columns = tile_count(height, width)
    step = winograd_rows(shape, outputs)
    for first in range(0, rows, step):
        strip_rows = min(step, rows - first)
        count = strip_rows * columns
        tiles = empty((36, count, channels), np.float32)
        transform = shapes.winograd_transform(to_tiles, strip_rows, columns, channels)
        launch("winograd", transform, *arrays, tiles, *shape, *pooling, first, strip_rows)
        products = empty((36, count, outputs), np.float32)
        product = shapes.winograd_product(count, outputs, flipped)
        launch("winograd", product, tiles, filters, products, count, outputs, channels)
        back = shapes.winograd_transform("winograd_from_tiles", strip_rows, columns, outputs)
        sizes = (height, width, outputs, first, strip_rows, int(flipped), int(rectify))
        launch("winograd", back, products, bias, out, *sizes)
    return out
