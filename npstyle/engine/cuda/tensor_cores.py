"""Convolution with 3x3 filters on an NVIDIA card's tensor cores.

The same functions as `npstyle.engine.cpu.conv.conv2d` and `conv2d_backward` with stride 1 and padding 1,
whose operands are rounded to tf32 or float16 before they are multiplied, and whose sums are
float32. See `npstyle/engine/cuda/conv_tensor.cu`.
"""

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import launch as cuda
from npstyle.engine.cuda.arrays import Array, cupy, empty, launch, to_device

TensorPrecision = Literal["tf32", "float16"]


def pack_filters(
    weight: NDArray[np.float32], precision: TensorPrecision
) -> tuple[tuple[Array, Array], float]:
    """Filters as the kernels want them.

    Parameters
    ----------
    weight : array (3, 3, channels in, channels out), on the host
    precision : "tf32" or "float16"

    Returns
    -------
    filters : two arrays of 32-bit words, on the card
        For the way forward, and turned for the way back.
    out_scale : float
        What the sums must be multiplied by: float16 holds the filters times a power of two that
        brings the largest weight to 1..2.
    """
    largest = float(np.abs(weight).max(initial=0.0))
    out_scale = 1.0
    if precision == "float16" and 0 < largest < np.inf:
        out_scale = float(2.0 ** np.floor(np.log2(largest)))
    placed = to_device(weight / np.float32(out_scale), np.float32)
    return (_packed(placed, precision, False), _packed(placed, precision, True)), out_scale


def _packed(weight: Array, precision: TensorPrecision, turned: bool) -> Array:
    channels, filters = weight.shape[2:]
    columns = cuda.tensor_columns(channels if turned else filters)
    words = cuda.tensor_words(precision, filters if turned else channels)
    packed = empty((9, words // cuda.CHUNK, columns, cuda.CHUNK), np.uint32)
    shape = cuda.elementwise(f"pack_filters_{precision}", packed.size)
    launch("conv_tensor", shape, weight, packed, channels, filters, words, columns, int(turned))
    return packed


def conv2d(
    image: Array,
    filters: Array,
    bias: Array,
    precision: TensorPrecision,
    out_scale: float,
    *,
    rectify: bool = False,
) -> Array:
    """Convolve; with `rectify`, apply the ReLU to the result.

    Parameters
    ----------
    image : float32 array (height, width, channels in)
    filters, out_scale
        Of the way forward, from `pack_filters`.
    bias : float32 array (channels out,)
    precision : "tf32" or "float16"
    rectify : bool

    Returns
    -------
    float32 array (height, width, channels out)
    """
    out = empty((*image.shape[:2], len(bias)), np.float32)
    _convolve(image, filters, bias, None, out, 1, rectify, precision, out_scale)
    return out


def conv2d_backward(
    gradient: Array,
    filters: Array,
    gate: Array | None,
    channels: int,
    precision: TensorPrecision,
    out_scale: float,
    pooling: int = 1,
) -> Array:
    """Derivative of `conv2d`, its ReLU, and an average pooling behind that.

    Parameters
    ----------
    gradient : float32 array (height, width, channels out)
        Or, with `pooling`, dL/dY of the pooling.
    filters, out_scale
        Of the way back, from `pack_filters`.
    gate : array of bool (height, width, channels out), optional
        F > 0. Must be given with `pooling`.
    channels : int
        Of the forward pass's image.
    precision : "tf32" or "float16"
    pooling : int
        Size and stride.

    Returns
    -------
    float32 array (height, width, channels in)
    """
    height, width = (gradient if gate is None else gate).shape[:2]
    out = empty((height, width, channels), np.float32)
    _convolve(gradient, filters, None, gate, out, pooling, False, precision, out_scale)
    return out


def parts(precision: TensorPrecision, height: int, width: int, channels: int, columns: int) -> int:
    """Arrays of the output's size that a convolution is written to first; 0: it is made at once."""
    sizes = height, width, channels, columns
    splits = cuda.tensor_conv(precision, *sizes, _multiprocessors()).grid[2]
    return splits if splits > 1 else 0


def _convolve(
    source: Array,
    filters: Array,
    bias: Array | None,
    gate: Array | None,
    out: Array,
    pooling: int,
    rectify: bool,
    precision: TensorPrecision,
    out_scale: float,
) -> None:
    height, width, columns = out.shape
    channels = source.shape[2]
    shape = cuda.tensor_conv(precision, height, width, channels, columns, _multiprocessors())
    splits = shape.grid[2]
    written = out if splits == 1 else empty((splits, *out.shape), np.float32)
    words, padded = filters.shape[1] * cuda.CHUNK, filters.shape[2]
    geometry = (height, width, channels, columns, words, padded, pooling, int(rectify))
    scales = (_scale_up(source) if precision == "float16" else None, np.float32(out_scale))
    launch("conv_tensor", shape, source, filters, bias, gate, written, None, *geometry, *scales)
    if splits > 1:
        combine = cuda.elementwise("combine_splits", out.size)
        sizes = (splits, np.int64(out.size), columns, int(rectify))
        launch("conv_tensor", combine, written, bias, out, None, *sizes)


def _scale_up(values: Array) -> Array:
    """A power of two, on the card, that brings the largest value to where float16 is exact."""
    shape = cuda.reduction("largest", values.size)
    partial, scale = empty((shape.grid[0],), np.float32), empty((1,), np.float32)
    launch("conv_tensor", shape, values, partial, np.int64(values.size))
    launch("conv_tensor", cuda.SCALE_UP, partial, scale, int(partial.size))
    return scale


def _multiprocessors() -> int:
    return _multiprocessors_of(cupy().cuda.runtime.getDevice())


@cache
def _multiprocessors_of(number: int) -> Any:
    return cupy().cuda.Device(number).attributes["MultiProcessorCount"]
