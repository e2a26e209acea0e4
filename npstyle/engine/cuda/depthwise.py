"""Depthwise convolution on a GPU: `npstyle.maths.depthwise`, with the kernels of `depthwise.cu`."""

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.engine.cuda.channels import channel_products, channel_sums
from npstyle.engine.cuda.padding import zero_pad
from npstyle.maths.array import Array
from npstyle.maths.windows import output_size, windows


def depthwise_conv2d(
    image: Array, kernel: Array, bias: Array, stride: int = 1, padding: int = 0
) -> Array:
    """Convolve each channel with a filter of its own.

    Parameters
    ----------
    image : float32 or float64 array (height, width, channels)
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
    size = output_size(image.shape, kernel.shape, stride, padding)
    out = empty((*size, image.shape[2]), image.dtype)
    shape = shapes.rows(f"depthwise_conv2d_{out.dtype.name}", size[0], size[1] * out.shape[2])
    geometry = (*image.shape, *kernel.shape[:2], stride, padding, *size)
    launch("depthwise", shape, image, kernel, bias, out, *geometry)
    return out


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
    out = empty(image_shape, upstream.dtype)
    height, width, channels = image_shape
    shape = shapes.rows(f"depthwise_conv2d_backward_{out.dtype.name}", height, width * channels)
    geometry = (*image_shape, *kernel.shape[:2], stride, padding, *upstream.shape[:2])
    launch("depthwise", shape, upstream, kernel, out, *geometry)
    return out


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
    gradient = empty((*kernel_size, image.shape[2]), upstream.dtype)
    for at, window in windows(zero_pad(image, padding), kernel_size, stride):
        gradient[at] = channel_products(upstream, window.copy())
    return gradient, channel_sums(upstream).astype(upstream.dtype)
