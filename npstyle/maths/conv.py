"""Convolution: each output is a weighted sum of the inputs under a window.

Forward
-------
The image X has C channels. The kernel K has k_h x k_w taps, C channels in and N filters (channels
out). With stride s, zero padding p and bias b, filter o at row y, column x computes

    Z[y, x, o] = b[o] + sum_{i, j, c}  X[s y + i - p, s x + j - p, c]  K[i, j, c, o]

where X is 0 outside the image. (Signal processing calls this a correlation, because the kernel is
not flipped. Convolutional networks call it a convolution.) For a single tap (i, j) the sum over c
is a matrix product. In the notation of `npstyle.maths.windows`, on the padded image,

    Z = b + sum_{i, j}  W_ij K_ij

where W_ij is a matrix, positions x channels, and K_ij = K[i, j] a matrix C x N.

Derivatives
-----------
Let g = dL/dZ arrive from above. X[u, v, c] enters every output whose window covers it, so by the
chain rule

    dL/dX[u, v, c]    = sum of g[y, x, o] K[i, j, c, o]    over all (y, x, i, j, o)
                        with s y + i - p = u and s x + j - p = v
    dL/dK[i, j, c, o] = sum_{y, x}  X[s y + i - p, s x + j - p, c]  g[y, x, o]
    dL/db[o]          = sum_{y, x}  g[y, x, o]

Tap by tap, g K_ij^T is added to the slice of dL/dX that W_ij was read from, and
dL/dK_ij = W_ij^T g.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (arXiv
1603.07285), sections 2 and 4.
"""

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.padding import zero_pad, zero_pad_backward
from npstyle.maths.windows import output_size, windows


def conv2d(
    image: Array, kernel: Array, bias: Array | None = None, stride: int = 1, padding: int = 0
) -> Array:
    """Convolve an image with a bank of filters.

    Parameters
    ----------
    image : array (height, width, channels in)
        X, of any float or complex dtype.
    kernel : array (kernel height, kernel width, channels in, channels out)
        K.
    bias : array (channels out,), optional
        b; 0 by default.
    stride, padding : int
        s and p.

    Returns
    -------
    array (out height, out width, channels out)
        Z, with out height = floor((height + 2p - kernel height) / s) + 1.

    Raises
    ------
    ValueError
        If the channels disagree, or the kernel is larger than the padded image.
    """
    if image.ndim != 3 or kernel.ndim != 4 or image.shape[2] != kernel.shape[2]:
        raise ValueError(
            "conv2d: expected an image (height, width, channels in) and a kernel "
            "(kernel height, kernel width, channels in, channels out), "
            f"got {image.shape} and {kernel.shape}"
        )
    padded = zero_pad(image, padding)
    size = output_size(padded.shape, kernel.shape, stride)
    Z = np.zeros((*size, kernel.shape[3]), np.result_type(image, kernel))
    for (i, j), window in windows(padded, kernel.shape[:2], stride):
        Z += window @ kernel[i, j]
    return Z if bias is None else Z + bias


def conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Derivative of `conv2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        g = dL/dZ.
    image_shape : (height, width, channels in)
        Shape of X.
    kernel, stride, padding
        As in `conv2d`.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    height, width, channels = image_shape
    padded_shape = (height + 2 * padding, width + 2 * padding, channels)
    gradient = np.zeros(padded_shape, np.result_type(upstream, kernel))
    for (i, j), window in windows(gradient, kernel.shape[:2], stride):
        window += upstream @ kernel[i, j].T
    return zero_pad_backward(gradient, padding)


def conv2d_backward_weights(
    upstream: Array,
    image: Array,
    kernel_size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
) -> tuple[Array, Array]:
    """Derivative of `conv2d` with respect to the kernel and the bias.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        g = dL/dZ.
    kernel_size : (int, int)
        Height and width of the kernel.
    image, stride, padding
        As in `conv2d`.

    Returns
    -------
    kernel_gradient : array (kernel height, kernel width, channels in, channels out)
        dL/dK.
    bias_gradient : array (channels out,)
        dL/db.
    """
    shape = (*kernel_size, image.shape[2], upstream.shape[2])
    kernel_gradient = np.zeros(shape, np.result_type(upstream, image))
    for (i, j), window in windows(zero_pad(image, padding), kernel_size, stride):
        kernel_gradient[i, j] = np.tensordot(window, upstream, axes=((0, 1), (0, 1)))
    return kernel_gradient, upstream.sum(axis=(0, 1))
