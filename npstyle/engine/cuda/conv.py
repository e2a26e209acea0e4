"""Convolution of any kernel size, stride and padding on a GPU.

The formulas are those of `npstyle.maths.conv`; the kernels are in `conv.cu` and `conv_weights.cu`.
"""

from math import prod

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.engine.cuda.channels import channel_sums
from npstyle.engine.cuda.relu import mask_pointers
from npstyle.maths.array import Array
from npstyle.maths.windows import output_size


def conv2d(
    image: Array,
    kernel: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    *,
    rectify: bool = False,
) -> Array:
    """Convolve an image with a bank of filters.

    Parameters
    ----------
    image : array (height, width, channels in)
        float32 or float64.
    kernel : array (kernel height, kernel width, channels in, channels out)
    bias : array (channels out,), optional
    stride, padding : int
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (out height, out width, channels out)

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    size = output_size(image.shape, kernel.shape, stride, padding)
    filters = kernel.shape[3]
    out = empty((*size, filters), image.dtype)
    shape = shapes.conv2d(out.dtype.name, *size, filters)
    geometry = (*image.shape, filters, *kernel.shape[:2], stride, padding, *size)
    launch("conv", shape, image, kernel, bias, out, *geometry, int(rectify))
    return out


def conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    relu_mask: Array | None = None,
) -> Array:
    """Derivative of `conv2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        dL/dZ; with `relu_mask`, dL/dF for F = max(Z, 0).
    kernel, stride, padding
        As in `conv2d`.
    image_shape : (height, width, channels in)
    relu_mask : array (out height, out width, channels out), optional
        The booleans F > 0, or F itself: the ReLU's derivative is included.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    out = empty(image_shape, upstream.dtype)
    shape = shapes.conv2d_backward(out.dtype.name, *image_shape)
    geometry = (*image_shape, kernel.shape[3], *kernel.shape[:2], stride, padding)
    mask = mask_pointers(relu_mask)
    launch("conv", shape, upstream, kernel, *mask, out, *geometry, *upstream.shape[:2])
    return out


def conv2d_backward_weights(
    upstream: Array, image: Array, kernel_size: tuple[int, int], stride: int = 1, padding: int = 0
) -> tuple[Array, Array]:
    """Derivative of `conv2d` with respect to kernel and bias.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        g = dL/dZ.
    image : array (height, width, channels in)
        X, in the dtype of g.
    kernel_size : (int, int)
        Height and width of the kernel.
    stride, padding : int
        s and p.

    Returns
    -------
    kernel_gradient : array (kernel height, kernel width, channels in, channels out)
        dL/dK = C^T g.
    bias_gradient : array (channels out,)
        dL/db.
    """
    *size, filters = upstream.shape
    kernel_shape = (*kernel_size, image.shape[2], filters)
    dtype, count = upstream.dtype, prod(kernel_shape)
    shape = shapes.conv2d_backward_weights(dtype.name, prod(size), count // filters, filters)
    parts = shape.grid[2]
    partial, gradient = empty((parts, *kernel_shape), dtype), empty(kernel_shape, dtype)
    geometry = (*image.shape, filters, *kernel_size, stride, padding, *size)
    launch("conv_weights", shape, upstream, image, partial, *geometry)
    totals = shapes.elementwise(f"kernel_totals_{dtype.name}", count)
    launch("conv_weights", totals, partial, gradient, parts, np.int64(count))
    return gradient, channel_sums(upstream).astype(dtype)
