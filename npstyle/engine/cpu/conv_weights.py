"""The gradient at a convolution's kernel, as matrix products; see `npstyle.maths.conv`.

In the notation of `npstyle.engine.cpu.conv` it is C^T g. Only the k_w taps along a row are copied
into the columns C, since the taps of all rows of the kernel are the same columns, further down.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npstyle.engine.cpu.conv import strip_rows
from npstyle.engine.strips import Range, pieces, strips
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array
from npstyle.maths.padding import zero_pad

PARTIAL_SUMS = 8
"""Number of pieces of the image whose kernel gradients are summed apart, for several threads."""


def conv2d_backward_weights(
    upstream: Array, image: Array, kernel_size: tuple[int, int], stride: int = 1, padding: int = 0
) -> tuple[Array, Array]:
    """Derivative of `conv2d` with respect to kernel and bias.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        g = dL/dZ.
    image : array (height, width, channels in)
        X.
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
    padded = zero_pad(image, padding) if padding else image
    if stride == 1 and upstream.shape[2] < image.shape[2]:
        # The sum over positions reads g and X alike: exchange them, and copy the narrower one.
        framed = np.pad(upstream, [(k - 1, k - 1) for k in kernel_size] + [(0, 0)])
        exchanged = _correlate_images(framed, padded, kernel_size, 1)
        kernel_gradient = exchanged[::-1, ::-1].transpose(0, 1, 3, 2)
    else:
        kernel_gradient = _correlate_images(padded, upstream, kernel_size, stride)
    return kernel_gradient, upstream.sum(axis=(0, 1))


def _correlate_images(
    image: Array, other: Array, kernel_size: tuple[int, int], stride: int
) -> Array:
    """sum_{y, x} X[s y + i, s x + j, c] g[y, x, o], as (kernel height, kernel width, c, o).

    Only the k_w taps along a row are copied into columns. The taps of row i of the kernel are the
    columns i rows further down; with a stride s, those of the rows i, i + s, i + 2 s, ....
    """
    height, width, filters = other.shape
    k_h, k_w, channels = *kernel_size, image.shape[2]
    dtype = np.result_type(image, other)
    # One partial sum per piece of the image, and few pieces: each sum is as large as K.
    parts = pieces(height, PARTIAL_SUMS)
    partial = np.zeros((len(parts), k_h, k_w * channels, filters), dtype)
    rows = strip_rows(width, (1, k_w), channels, dtype.itemsize)
    row, column, value = image.strides
    steps = (stride * row, stride * column, column, value)

    def multiply(queue: Iterator[tuple[int, Range]]) -> None:
        for k, (part_first, part_end) in queue:
            for first, end in strips(part_end - part_first, rows):
                first, count = part_first + first, end - first
                g = other[first : first + count].reshape(-1, filters)
                for phase in range(min(stride, k_h)):
                    taps = range(phase, k_h, stride)
                    shape = (count + len(taps) - 1, width, k_w, channels)
                    columns = workspace(math.prod(shape), dtype).reshape(shape)
                    source = image[first * stride + phase :]
                    columns[:] = as_strided(source, shape, steps, writeable=False)
                    for below, i in enumerate(taps):
                        C = columns[below : below + count].reshape(-1, k_w * channels)
                        partial[k, i] += C.T @ g

    parallel_for(multiply, enumerate(parts))
    return partial.sum(axis=0).reshape(k_h, k_w, channels, filters)
