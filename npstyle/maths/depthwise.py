"""Depthwise convolution: every channel has one filter of its own.

    Z[y, x, c] = b[c] + sum_{i, j}  X[s y + i - p, s x + j - p, c]  K[i, j, c]

This is a convolution (`npstyle.maths.conv`) whose kernel is 0 where the channels in and out differ,
so the derivatives are those of the convolution, without the sums over channels. With g = dL/dZ,

    Z = b + sum_{i, j}  W_ij K_ij          entry by entry
    dL/dW_ij = g K_ij
    dL/dK_ij = sum_{y, x} W_ij g
    dL/db    = sum_{y, x} g

Together with a pointwise (1x1) convolution, which mixes the channels, it takes the place of a full
convolution in small networks: Howard et al., "MobileNets" (arXiv 1704.04861).
"""

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.padding import zero_pad, zero_pad_backward
from npstyle.maths.windows import output_size, windows


def depthwise_conv2d(
    image: Array, kernel: Array, bias: Array, stride: int = 1, padding: int = 0
) -> Array:
    """Convolve each channel with a filter of its own.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    kernel : array (kernel height, kernel width, channels)
        K.
    bias : array (channels,)
        b.
    stride, padding : int
        s and p.

    Returns
    -------
    array (out height, out width, channels)
        Z.

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    padded = zero_pad(image, padding)
    size = output_size(padded.shape, kernel.shape, stride)
    Z = np.zeros((*size, kernel.shape[2]), np.result_type(image, kernel))
    for (i, j), window in windows(padded, kernel.shape[:2], stride):
        Z += window * kernel[i, j]
    return Z + bias


def depthwise_conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Derivative of `depthwise_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels)
        g = dL/dZ.
    image_shape : (height, width, channels)
        Shape of X.
    kernel, stride, padding
        As in `depthwise_conv2d`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    height, width, channels = image_shape
    padded_shape = (height + 2 * padding, width + 2 * padding, channels)
    gradient = np.zeros(padded_shape, np.result_type(upstream, kernel))
    for (i, j), window in windows(gradient, kernel.shape[:2], stride):
        window += upstream * kernel[i, j]
    return zero_pad_backward(gradient, padding)


def depthwise_conv2d_backward_weights(
    upstream: Array,
    image: Array,
    kernel_size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
) -> tuple[Array, Array]:
    """Derivative of `depthwise_conv2d` with respect to kernel and bias: dL/dK and dL/db.

    `upstream` is g; `kernel_size` is the kernel's height and width.
    """
    kernel_gradient = np.zeros((*kernel_size, image.shape[2]), np.result_type(upstream, image))
    for (i, j), window in windows(zero_pad(image, padding), kernel_size, stride):
        kernel_gradient[i, j] = (window * upstream).sum(axis=(0, 1))
    return kernel_gradient, upstream.sum(axis=(0, 1))
