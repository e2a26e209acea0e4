"""Depthwise convolution in strips of rows; the formulas are in `npstyle.maths.depthwise`."""

from collections.abc import Iterator

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu.rows import as_rows, for_a_row
from npstyle.engine.strips import Range, strips_of
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array
from npstyle.maths.depthwise import depthwise_conv2d_backward_weights
from npstyle.maths.padding import zero_pad, zero_pad_backward
from npstyle.maths.windows import output_size, windows

__all__ = [
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "depthwise_conv2d_backward_weights",
]

STRIP_BYTES = 1 << 18
"""Memory of a strip of the output, in bytes; it stays in a core's cache for all taps."""


def depthwise_conv2d(
    image: Array, kernel: Array, bias: Array, stride: int = 1, padding: int = 0
) -> Array:
    """Convolve each channel with a filter of its own.

    Parameters
    ----------
    image : array (height, width, channels)
        X, any float dtype.
    kernel : array (kernel height, kernel width, channels)
        K, in the image's dtype.
    bias : array (channels,)
        b.
    stride, padding : int
        s and p.

    Returns
    -------
    array (out height, out width, channels)
        Z.
    """
    padded = zero_pad(image, padding)
    height, width = output_size(padded.shape, kernel.shape, stride)
    out = empty((height, width, image.shape[2]), image.dtype)
    slices = windows(padded, kernel.shape[:2], stride)
    taps = [(for_a_row(kernel[at], out), window) for at, window in slices]
    biases = for_a_row(bias, out)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = as_rows(out[first:end])
            product = workspace(strip.size, strip.dtype).reshape(strip.shape)
            strip[:] = biases
            for factors, window in taps:
                if stride == 1:
                    np.multiply(as_rows(window[first:end]), factors, out=product)
                else:  # the pixels of a window are apart
                    product.reshape(window[first:end].shape)[:] = window[first:end]
                    product *= factors
                strip += product

    parallel_for(work, strips_of(out, STRIP_BYTES))
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
    height, width, channels = image_shape
    padded_shape = (height + 2 * padding, width + 2 * padding, channels)
    gradient = np.zeros(padded_shape, upstream.dtype)
    for at, window in windows(gradient, kernel.shape[:2], stride):
        window += upstream * kernel[at]
    return zero_pad_backward(gradient, padding)
