"""Convolution of an image that is mirrored at its edges, on a GPU.

The formulas are those of `npstyle.maths.padding` and `npstyle.maths.conv`, one after the other.
"""

from npstyle.engine.cuda.conv import conv2d, conv2d_backward
from npstyle.engine.cuda.padding import reflect_pad, reflect_pad_backward
from npstyle.maths.array import Array


def reflect_conv2d(
    image: Array,
    kernel: Array,
    bias: Array,
    stride: int = 1,
    padding: int = 0,
    *,
    rectify: bool = False,
) -> Array:
    """Mirror an image at its edges by `padding` rows and columns, and convolve it.

    Parameters, result and errors are those of `npstyle.engine.cuda.conv.conv2d` and of
    `npstyle.engine.cuda.padding.reflect_pad`.
    """
    return conv2d(reflect_pad(image, padding), kernel, bias, stride, rectify=rectify)


def reflect_conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Derivative of `reflect_conv2d` with respect to the image: dL/dX of shape `image_shape`."""
    height, width, channels = image_shape
    padded_shape = (height + 2 * padding, width + 2 * padding, channels)
    return reflect_pad_backward(conv2d_backward(upstream, kernel, padded_shape, stride), padding)
