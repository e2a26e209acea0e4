"""The engine's kernels on an NVIDIA card.

Each function is the twin of the one of the same name beside it (`npstyle.engine.cpu.conv.conv2d`, ...):
the same arguments, on CuPy's arrays. Matrix products (Gram matrices and their derivatives) are
cuBLAS's. See `npstyle.engine.cuda.arrays` for what arrays must be like.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from npstyle.engine.cuda import launch as cuda
from npstyle.engine.cuda.arrays import Array, empty, launch, matmul, to_device
from npstyle.engine.sizes import output_size, pooled_size, tile_count

STRIP_BYTES = 1 << 29
"""Memory for a strip's transformed tiles and their products."""


def _gates(activation: Array | None) -> tuple[Array | None, Array | None]:
    """(gate, activation), one of which is None: what an activation's array is, bytes or numbers."""
    if activation is None:
        return None, None
    return (activation, None) if activation.dtype == np.bool_ else (None, activation)


def conv2d(
    image: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    *,
    rectify: bool = False,
) -> Array:
    """Convolve; with `rectify`, apply the ReLU to the result."""
    size = output_size(image.shape, weight.shape, stride, padding)
    filters = weight.shape[3]
    out = empty((*size, filters), image.dtype)
    shape = cuda.conv2d(out.dtype.name, *size, filters)
    geometry = (*image.shape, filters, *weight.shape[:2], stride, padding, *size)
    launch("conv", shape, image, weight, bias, out, *geometry, int(rectify))
    return out


def conv2d_backward(
    gradient: Array,
    weight: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    activation: Array | None = None,
) -> Array:
    """Derivative of `conv2d`; with `activation`, also of the ReLU behind it."""
    out = empty(image_shape, gradient.dtype)
    shape = cuda.conv2d_backward(out.dtype.name, *image_shape)
    geometry = (*image_shape, weight.shape[3], *weight.shape[:2], stride, padding)
    sizes = gradient.shape[:2]
    launch("conv", shape, gradient, weight, *_gates(activation), out, *geometry, *sizes)
    return out


def transform_filters(weight: Array, both: Any) -> Array:
    """G g G^T for every pair of channels, made in float64; `both` is G x G (Kronecker)."""
    filters = matmul(to_device(both), weight.reshape(9, -1).astype(np.float64))
    return filters.astype(weight.dtype).reshape(36, *weight.shape[2:])


def winograd_conv2d(
    image: Array, filters: Array, bias: Array | None = None, *, rectify: bool = False
) -> Array:
    """Convolve with 3x3 filters, stride 1, padding 1, in float32."""
    return _winograd(
        "winograd_to_tiles", (image,), (), image.shape, filters, bias, turned=False, rectify=rectify
    )


def winograd_conv2d_backward(
    gradient: Array, filters: Array, activation: Array | None = None, pooling: int = 1
) -> Array:
    """Derivative of `winograd_conv2d`, its ReLU, and an average pooling behind that."""
    shape = gradient.shape if activation is None else activation.shape
    given = (gradient, *_gates(activation))
    return _winograd(
        "winograd_to_tiles_backward",
        given,
        (pooling,),
        shape,
        filters,
        None,
        turned=True,
        rectify=False,
    )


def winograd_rows(shape: tuple[int, ...], outputs: int) -> int:
    """Rows of tiles that are worked on at a time: as many as fill `STRIP_BYTES`, transformed."""
    rows, columns = tile_count(*shape[:2])
    row_bytes = 36 * columns * (shape[2] + outputs) * 4
    return min(rows, max(1, STRIP_BYTES // row_bytes))


def _winograd(
    to_tiles: str,
    given: tuple[Array | None, ...],
    pooling: tuple[int, ...],
    shape: tuple[int, ...],
    filters: Array,
    bias: Array | None,
    *,
    turned: bool,
    rectify: bool,
) -> Array:
    """The three steps of `winograd.cu`, for a strip of tile rows at a time."""
    height, width, channels = shape
    outputs = filters.shape[1 if turned else 2]
    out = empty((height, width, outputs), np.float32)
    rows, columns = tile_count(height, width)
    step = winograd_rows(shape, outputs)
    for first in range(0, rows, step):
        part = min(step, rows - first)
        count = part * columns
        tiles = empty((36, count, channels), np.float32)
        transform = cuda.winograd_transform(to_tiles, part, columns, channels)
        launch("winograd", transform, *given, tiles, *shape, *pooling, first, part)
        products = empty((36, count, outputs), np.float32)
        product = cuda.winograd_product(count, outputs, turned)
        launch("winograd", product, tiles, filters, products, count, outputs, channels)
        back = cuda.winograd_transform("winograd_from_tiles", part, columns, outputs)
        sizes = (height, width, outputs, first, part, int(turned), int(rectify))
        launch("winograd", back, products, bias, out, None, *sizes)
    return out


def _value_by_value(chapter: str, stem: str, like: Array, *arguments: Any) -> None:
    """One thread for each value of `like`."""
    shape = cuda.elementwise(f"{stem}_{like.dtype.name}", like.size)
    launch(chapter, shape, *arguments, np.int64(like.size))


def relu(pre_activation: Array, out: Array | None = None) -> Array:
    """F = max(Z, 0)."""
    out = empty(pre_activation.shape, pre_activation.dtype) if out is None else out
    _value_by_value("relu", "relu", pre_activation, pre_activation, out)
    return out


def relu_mask(activation: Array) -> Array:
    """F > 0."""
    gate = empty(activation.shape, np.bool_)
    _value_by_value("relu", "relu_gate", activation, activation, gate)
    return gate


def relu_backward(gradient: Array, activation: Array, out: Array | None = None) -> Array:
    """dL/dZ = dL/dF where F > 0, else 0."""
    out = empty(gradient.shape, gradient.dtype) if out is None else out
    _value_by_value("relu", "relu_backward", gradient, gradient, *_gates(activation), out)
    return out


def pool2d(mode: str, image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Pool by "avg", "max" or "l2"."""
    stride = stride or size
    sizes = pooled_size(image.shape, size, stride)
    out = empty((*sizes, image.shape[2]), image.dtype)
    shape = cuda.rows(f"{mode}_pool2d_{out.dtype.name}", sizes[0], sizes[1] * image.shape[2])
    launch("pool", shape, image, out, *image.shape, size, stride, *sizes)
    return out


def pool2d_backward(
    mode: str,
    gradient: Array,
    image_shape: tuple[int, ...],
    image: Array | None = None,
    pooled: Array | None = None,
    size: int = 2,
    stride: int | None = None,
) -> Array:
    """Derivative of `pool2d`; "max" and "l2" need the forward pass's image and result."""
    stride = stride or size
    out = empty(image_shape, gradient.dtype)
    height, width, channels = image_shape
    shape = cuda.rows(f"{mode}_pool2d_backward_{out.dtype.name}", height, width * channels)
    geometry = (*image_shape, size, stride, *gradient.shape[:2])
    launch("pool", shape, gradient, image, pooled, out, *geometry)
    return out


def replicate(image: Array, padding: int) -> Array:
    """Continue an image beyond its edges."""
    height, width, channels = image.shape
    out = empty((height + 2 * padding, width + 2 * padding, channels), image.dtype)
    shape = cuda.rows(f"replicate_{out.dtype.name}", out.shape[0], out.shape[1] * channels)
    launch("pad", shape, image, out, *image.shape, padding)
    return out


def replicate_backward(gradient: Array, padding: int) -> Array:
    """Derivative of `replicate`."""
    height, width = (n - 2 * padding for n in gradient.shape[:2])
    out = empty((height, width, gradient.shape[2]), gradient.dtype)
    shape = cuda.rows(f"replicate_backward_{out.dtype.name}", height, width * out.shape[2])
    launch("pad", shape, gradient, out, *out.shape, padding)
    return out


def gram(activation: Array, weights: Array | None = None) -> Array:
    """F^T F, summed over the positions; with `weights` (height, width), F^T diag(w) F."""
    positions = activation.reshape(-1, activation.shape[-1])
    weighed = positions if weights is None else positions * weights.reshape(-1, 1)
    return matmul(weighed.T, positions)


def style_loss_backward(
    activation: Array,
    activation_gram: Array,
    target_gram: Array,
    weight: float = 1.0,
    upstream: Array | None = None,
    weights: Array | None = None,
    gated: bool = True,
) -> Array:
    """Weigh dE/dF and add it to `upstream`; twin of `npstyle.engine.cpu.losses.style_loss_backward`."""
    height, width, channels = activation.shape
    number = activation.dtype.type
    factor = weight / (2 * channels**2)
    if weights is None:
        factor /= height * width
    slope = empty(activation_gram.shape, activation.dtype)
    shape = cuda.elementwise(f"style_slope_{slope.dtype.name}", slope.size)
    launch("losses", shape, activation_gram, target_gram, number(factor), slope, channels)
    product = matmul(activation.reshape(-1, channels), slope)
    out = empty(activation.shape, activation.dtype) if upstream is None else upstream
    shape = cuda.elementwise(f"style_backward_{out.dtype.name}", out.size)
    given = (product, activation, weights, upstream, out, np.int64(height * width), channels)
    launch("losses", shape, *given, int(gated))
    return out


def sum_of_squares(values: Array, target: Array, factor: float) -> Array:
    """Sum (a - b)^2 in float64, times 1/2 for the content loss, 1/(4 N^2) for the style loss.

    An array of one value, on the card: nobody waits for it.
    """
    shape = cuda.reduction(f"squares_{values.dtype.name}", values.size)
    partial = empty((shape.grid[0],), np.float64)
    launch("losses", shape, values, target, partial, np.int64(values.size))
    return _total(partial, factor)


def content_loss_backward(
    activation: Array,
    target: Array,
    weight: float = 1.0,
    upstream: Array | None = None,
    gated: bool = True,
) -> Array:
    """Weigh dL/dF and add it to `upstream`."""
    out = empty(activation.shape, activation.dtype) if upstream is None else upstream
    factor = activation.dtype.type(weight)
    given = (activation, target, factor, upstream, out, int(gated))
    _value_by_value("losses", "content_backward", activation, *given)
    return out


def total_variation(image: Array) -> Array:
    """T, added in float64: an array of one value, on the card."""
    shape = cuda.reduction(f"tv_{image.dtype.name}", image.size)
    partial = empty((shape.grid[0],), np.float64)
    launch("losses", shape, image, partial, *image.shape)
    return _total(partial, 1.0)


def total_variation_backward(
    image: Array, weight: float = 1.0, upstream: Array | None = None
) -> Array:
    """Weigh dT/dx and add it to `upstream`."""
    out = empty(image.shape, image.dtype) if upstream is None else upstream
    shape = cuda.elementwise(f"tv_backward_{image.dtype.name}", image.size)
    launch("losses", shape, image, image.dtype.type(weight), upstream, out, *image.shape)
    return out


def _total(partial: Array, factor: float) -> Array:
    """The sum of partial sums, times a factor."""
    result = empty((1,), np.float64)
    launch("losses", cuda.TOTAL, partial, result, int(partial.size), np.float64(factor))
    return result


def preprocess(
    pixels: Array, channel_order: str, mean: Sequence[float], scale: Sequence[float], dtype: Any
) -> Array:
    """What the network is fed, z = (x - m) s, from float64 pixels (height, width, 3)."""
    out = empty(pixels.shape, dtype)
    count = pixels.shape[0] * pixels.shape[1]
    shape = cuda.elementwise(f"preprocess_{out.dtype.name}", count)
    turned, numbers = int(channel_order == "BGR"), map(np.float64, (*mean, *scale))
    launch("preprocess", shape, pixels, out, np.int64(count), turned, *numbers)
    return out


def preprocess_backward(gradient: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """dL/dx = s dL/dz, in float64."""
    out = empty(gradient.shape, np.float64)
    count = gradient.shape[0] * gradient.shape[1]
    shape = cuda.elementwise(f"preprocess_backward_{gradient.dtype.name}", count)
    turned, numbers = int(channel_order == "BGR"), map(np.float64, scale)
    launch("preprocess", shape, gradient, out, np.int64(count), turned, *numbers)
    return out
