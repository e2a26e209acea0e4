"""Convolution with 3x3 filters on the tensor cores of an NVIDIA GPU.

The functions compute `npstyle.maths.conv` with stride 1 and padding 1. They round their operands to
tf32 or fp16 before they multiply them, and add the products in float32. The kernels are in
`conv_tensor.cu`.
"""

from functools import cache
from typing import Any

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import cupy, empty, launch, place
from npstyle.engine.layers import TensorPrecision
from npstyle.maths.array import Array

TENSOR_CORES = 80
"""Lowest compute capability for these kernels, times 10."""


def has_tensor_cores() -> bool:
    """Whether the current GPU runs these kernels."""
    return int(cupy().cuda.Device().compute_capability) >= TENSOR_CORES


def pack_filters(kernel: Array, precision: TensorPrecision) -> tuple[tuple[Array, Array], float]:
    """Round filters and arrange them as the kernels read them.

    Parameters
    ----------
    kernel : float32 array (3, 3, channels in, channels out), on the host
    precision : "tf32" or "fp16"

    Returns
    -------
    packed : two arrays of 32-bit words, on the GPU
        For the forward pass, and flipped for the backward pass.
    out_scale : float
        Factor for the sums. fp16 stores the filters divided by this power of two, which brings
        the largest of them to 1..2; for tf32 it is 1.

    Raises
    ------
    ValueError
        If the GPU has no such tensor cores. (The kernels would trap, and CUDA would refuse all
        further work of the process.)
    """
    if not has_tensor_cores():
        raise ValueError(f"{precision}: needs a GPU of compute capability {TENSOR_CORES / 10}")
    largest = float(np.abs(kernel).max(initial=0.0))
    out_scale = 1.0
    if precision == "fp16" and 0 < largest < np.inf:
        out_scale = float(2.0 ** np.floor(np.log2(largest)))
    placed = place(kernel / np.float32(out_scale), np.float32)
    return (_packed(placed, precision, False), _packed(placed, precision, True)), out_scale


def _packed(kernel: Array, precision: TensorPrecision, flipped: bool) -> Array:
    channels, filters = kernel.shape[2:]
    columns = shapes.tensor_columns(channels if flipped else filters)
    words = shapes.tensor_words(precision, filters if flipped else channels)
    packed = empty((9, words // shapes.CHUNK, columns, shapes.CHUNK), np.uint32)
    shape = shapes.elementwise(f"pack_filters_{precision}", packed.size)
    launch("conv_tensor", shape, kernel, packed, channels, filters, words, columns, int(flipped))
    return packed


def tensor_conv2d(
    image: Array,
    packed: Array,
    bias: Array,
    precision: TensorPrecision,
    out_scale: float,
    *,
    rectify: bool = False,
) -> Array:
    """Convolve an image with packed filters.

    Parameters
    ----------
    image : float32 array (height, width, channels in)
    packed, out_scale
        For the forward pass, from `pack_filters`.
    bias : float32 array (channels out,)
    precision : "tf32" or "fp16"
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    float32 array (height, width, channels out)
    """
    out = empty((*image.shape[:2], len(bias)), np.float32)
    _convolve(image, packed, bias, None, out, 1, rectify, precision, out_scale)
    return out


def tensor_conv2d_backward(
    upstream: Array,
    packed: Array,
    relu_mask: Array | None,
    channels: int,
    precision: TensorPrecision,
    out_scale: float,
    pooling: int = 1,
) -> Array:
    """Derivative of `tensor_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : float32 array (height, width, channels out)
        dL/dZ; with `relu_mask`, dL/dF for F = max(Z, 0); with `pooling`, dL/dY of an average
        pooling of F, (height // pooling, width // pooling, channels out).
    packed, out_scale
        For the backward pass, from `pack_filters`.
    relu_mask : array of bool (height, width, channels out), optional
        F > 0. Required with `pooling`.
    channels : int
        Channels in.
    precision : "tf32" or "fp16"
    pooling : int
        Size and stride of the average pooling that followed the ReLU; 1: none.

    Returns
    -------
    float32 array (height, width, channels in)
        dL/dX.
    """
    height, width = (upstream if relu_mask is None else relu_mask).shape[:2]
    out = empty((height, width, channels), np.float32)
    _convolve(upstream, packed, None, relu_mask, out, pooling, False, precision, out_scale)
    return out


def parts(precision: TensorPrecision, height: int, width: int, channels: int, columns: int) -> int:
    """Number of partial sums, each of the output's size, or 0 if a convolution needs none."""
    sizes = height, width, channels, columns
    splits = shapes.tensor_conv(precision, *sizes, _multiprocessors()).grid[2]
    return splits if splits > 1 else 0


def _convolve(
    source: Array,
    packed: Array,
    bias: Array | None,
    mask: Array | None,
    out: Array,
    pooling: int,
    rectify: bool,
    precision: TensorPrecision,
    out_scale: float,
) -> None:
    height, width, columns = out.shape
    channels = source.shape[2]
    shape = shapes.tensor_conv(precision, height, width, channels, columns, _multiprocessors())
    splits = shape.grid[2]
    written = out if splits == 1 else empty((splits, *out.shape), np.float32)
    words, padded = packed.shape[1] * shapes.CHUNK, packed.shape[2]
    geometry = (height, width, channels, columns, words, padded, pooling, int(rectify))
    scales = (_scale_up(source) if precision == "fp16" else None, np.float32(out_scale))
    launch("conv_tensor", shape, source, packed, bias, mask, written, *geometry, *scales)
    if splits > 1:
        combine = shapes.elementwise("combine_splits", out.size)
        sizes = (splits, np.int64(out.size), columns, int(rectify))
        launch("conv_tensor", combine, written, bias, out, *sizes)


def _scale_up(values: Array) -> Array:
    """Return the power of two, on the GPU, that brings the largest value to fp16's exact range."""
    shape = shapes.reduction("largest", values.size)
    partial, scale = empty((shape.grid[0],), np.float32), empty((1,), np.float32)
    launch("scale", shape, values, partial, np.int64(values.size))
    launch("scale", shapes.SCALE_UP, partial, scale, int(partial.size))
    return scale


def _multiprocessors() -> int:
    return _multiprocessors_of(cupy().cuda.runtime.getDevice())


@cache
def _multiprocessors_of(number: int) -> Any:
    return cupy().cuda.Device(number).attributes["MultiProcessorCount"]
