"""Convolution as matrix products; the formulas are in `npstyle.maths.conv`.

The sum over the taps is one matrix product,

    Z = C K + b,     C[(y, x), (i, j, c)] = X[s y + i - p, s x + j - p, c]

The whole of C would take k_h k_w times the memory of the image. So C is built for one strip of rows
at a time, small enough to stay in the cache, and multiplied at once.

The derivative with respect to the image is a convolution, too, if the stride is 1: flip the kernel
by 180 degrees, K'[i, j, o, c] = K[k_h - 1 - i, k_w - 1 - j, c, o], and convolve g with K' with
padding k - 1 - p. With a larger stride the products are computed first, and then added where they
belong. The derivative with respect to the kernel is in `npstyle.engine.cpu.conv_weights`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npstyle.engine.arena import empty
from npstyle.engine.cpu.relu import relu_backward
from npstyle.engine.strips import Range, even_strips, evenness
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array
from npstyle.maths.windows import output_size

STRIP_BYTES = 2 << 20
"""Memory of the columns of one strip, in bytes; it stays in a core's share of the cache."""

FEW_CHANNELS = 8
"""With fewer channels in or out than this, copying columns takes longer than multiplying them."""


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
        X, any float dtype.
    kernel : array (kernel height, kernel width, channels in, channels out)
        K.
    bias : array (channels out,), optional
        b; 0 by default.
    stride, padding : int
        s and p.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (out height, out width, channels out)
        Z, or max(Z, 0).

    Raises
    ------
    ValueError
        If the channels disagree, or the kernel is larger than the padded image.
    """
    _check(image, kernel)
    size = output_size(image.shape, kernel.shape, stride, padding)
    return _correlate(image, kernel, bias, stride, (padding, padding), size, rectify)


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
        dL/dZ. With `relu_mask` it is dL/dF, where F = max(Z, 0), and it may be overwritten.
    kernel : array (kernel height, kernel width, channels in, channels out)
        K.
    image_shape : (height, width, channels in)
        Shape of X.
    stride, padding : int
        s and p.
    relu_mask : array (out height, out width, channels out), optional
        The booleans F > 0, or F itself.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    if relu_mask is not None:
        upstream = relu_backward(upstream, relu_mask, out=upstream)
    size = (image_shape[0], image_shape[1])
    if stride > 1:
        return _spread(upstream, kernel, stride, padding, size)
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    start = (kernel.shape[0] - 1 - padding, kernel.shape[1] - 1 - padding)
    if image_shape[2] < FEW_CHANNELS:
        return _correlate_to_few(upstream, flipped, start, size)
    return _correlate(upstream, flipped, None, 1, start, size)


def _check(image: Array, kernel: Array) -> None:
    if image.ndim != 3 or kernel.ndim != 4 or image.shape[2] != kernel.shape[2]:
        raise ValueError(
            "conv2d: expected an image (height, width, channels in) and a kernel "
            "(kernel height, kernel width, channels in, channels out), "
            f"got {image.shape} and {kernel.shape}"
        )


def _correlate(
    image: Array,
    kernel: Array,
    bias: Array | None,
    stride: int,
    padding: tuple[int, int],
    size: tuple[int, int],
    rectify: bool = False,
) -> Array:
    """Z = C K + b, or max(Z, 0), strip by strip, for an output of `size` = (height, width).

    `padding` = (top, left) is where the window starts; a negative number crops the image.
    """
    *kernel_size, channels, filters = kernel.shape
    dtype = np.result_type(image, kernel) if bias is None else np.result_type(image, kernel, bias)
    few = channels < FEW_CHANNELS
    matrix = np.ascontiguousarray(kernel).reshape(-1, filters)
    if few and bias is not None:  # the bias is one more tap, whose input is 1 everywhere
        matrix = np.vstack([matrix, bias])
    if few:
        planes = _planes(image, (kernel.shape[0], kernel.shape[1]), stride, padding, size)
        plane, row, value = planes.strides
        steps = (row, value, plane, stride * row, stride * value)
    out = empty((*size, filters), dtype)
    rows = strip_rows(size[1], (kernel.shape[0], kernel.shape[1]), channels, out.itemsize)
    taps = kernel.size // filters

    def multiply(queue: Iterator[Range]) -> None:
        for first, end in queue:
            positions = (end - first) * size[1]
            flat = workspace(positions * len(matrix), dtype)
            if few:
                # Tap by tap, not position by position: the copies are longer.
                every = flat.reshape(-1, positions)
                every[taps:] = 1
                shape = (*kernel_size, channels, end - first, size[1])
                source = planes[:, first * stride :]
                every[:taps].reshape(shape)[:] = as_strided(source, shape, steps, writeable=False)
                C = every.T
            else:
                columns = flat.reshape(end - first, size[1], *kernel_size, channels)
                _fill_columns(columns, image, first, stride, padding)
                C = flat.reshape(positions, -1)
            product = out[first:end].reshape(-1, filters)
            np.matmul(C, matrix, out=product)
            if bias is not None and not few:
                product += bias
            if rectify:
                np.maximum(product, 0, out=product)

    entries = size[0] * size[1] * len(matrix)
    parallel_for(multiply, even_strips(size[0], rows, evenness(entries)))
    return out


def _planes(
    image: Array,
    kernel_size: tuple[int, int],
    stride: int,
    padding: tuple[int, int],
    size: tuple[int, int],
) -> Array:
    """What the windows of `_correlate` see, one plane (height, width) for each channel."""
    extent = [(n - 1) * stride + k for n, k in zip(size, kernel_size, strict=True)]
    planes = np.zeros((image.shape[2], *extent), image.dtype)
    inside, source = [], []
    for p, seen, length in zip(padding, extent, image.shape, strict=False):
        first, end = max(0, p), min(seen, length + p)
        inside.append(slice(first, end))
        source.append(slice(first - p, end - p))
    planes[:, inside[0], inside[1]] = image[source[0], source[1]].transpose(2, 0, 1)
    return planes


def _spread(
    upstream: Array, kernel: Array, stride: int, padding: int, size: tuple[int, int]
) -> Array:
    """dL/dX with a stride: multiply first, then add every tap to the pixels that it has read.

    P[y, x, (i, j, c)] = sum_o g[y, x, o] K[i, j, c, o] belongs to dL/dX[s y + i - p, s x + j - p].
    A strip of rows of dL/dX computes P for all rows y that reach it.
    """
    k_h, k_w, channels, filters = kernel.shape
    dtype = np.result_type(upstream, kernel)
    matrix = np.ascontiguousarray(kernel.transpose(3, 0, 1, 2)).reshape(filters, -1)
    gradient = empty((*size, channels), dtype)
    height, width = upstream.shape[:2]

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = gradient[first:end]
            strip[:] = 0
            top = max(0, -((k_h - 1 - first - padding) // stride))
            bottom = max(top, min(height, (end - 1 + padding) // stride + 1))
            positions = upstream[top:bottom].reshape(-1, filters)
            flat = workspace(len(positions) * matrix.shape[1], dtype)
            product = flat.reshape(len(positions), matrix.shape[1])
            np.matmul(positions, matrix, out=product)
            P = product.reshape(bottom - top, width, k_h, k_w, channels)
            for i, j in np.ndindex(k_h, k_w):
                u, v = top * stride + i - padding - first, j - padding
                y_first, y_end = _inside(bottom - top, u, stride, end - first)
                x_first, x_end = _inside(width, v, stride, size[1])
                if y_first < y_end and x_first < x_end:
                    strip[
                        u + y_first * stride : u + (y_end - 1) * stride + 1 : stride,
                        v + x_first * stride : v + (x_end - 1) * stride + 1 : stride,
                    ] += P[y_first:y_end, x_first:x_end, i, j]

    rows = stride * strip_rows(width, (k_h, k_w), channels, dtype.itemsize)
    parallel_for(work, even_strips(size[0], rows))
    return gradient


def _correlate_to_few(
    image: Array, kernel: Array, padding: tuple[int, int], size: tuple[int, int]
) -> Array:
    """Compute `_correlate` with stride 1 for few channels out: multiply first, then shift.

    P[u, v, (i, j, o)] = sum_c X[u, v, c] K[i, j, c, o] has k_h k_w channels per channel out, and
    Z[y, x, o] is the sum of P over the taps (i, j), each shifted by its place in the kernel.
    """
    kernel_height, kernel_width, channels, filters = kernel.shape
    dtype = np.result_type(image, kernel)
    taps = kernel_height * kernel_width
    matrix = kernel.transpose(0, 1, 3, 2).reshape(taps * filters, channels)
    planes = np.zeros((filters, *size), dtype)
    rows = max(1, STRIP_BYTES // (image.shape[1] * channels * image.itemsize))

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            top = max(0, first - padding[0])
            bottom = min(len(image), end - 1 + kernel_height - padding[0])
            positions = image[top:bottom].reshape(-1, channels)
            flat = workspace(len(matrix) * len(positions), dtype)
            product = flat.reshape(len(matrix), -1)
            np.matmul(matrix, positions.T, out=product)
            product = product.reshape(*kernel.shape[:2], filters, bottom - top, image.shape[1])
            for i in range(kernel_height):
                shift_y = first + i - padding[0]
                y_first, y_end = _inside(end - first, shift_y, 1, len(image))
                for j in range(kernel_width):
                    shift_x = j - padding[1]
                    x_first, x_end = _inside(size[1], shift_x, 1, image.shape[1])
                    if y_first < y_end and x_first < x_end:
                        planes[:, first + y_first : first + y_end, x_first:x_end] += product[
                            i,
                            j,
                            :,
                            y_first + shift_y - top : y_end + shift_y - top,
                            x_first + shift_x : x_end + shift_x,
                        ]

    parallel_for(work, even_strips(size[0], rows, evenness(image.size)))
    return planes.transpose(1, 2, 0)


def strip_rows(width: int, kernel_size: tuple[int, int], channels: int, itemsize: int) -> int:
    """Number of rows of the output whose columns fill about STRIP_BYTES."""
    return max(1, STRIP_BYTES // (width * kernel_size[0] * kernel_size[1] * channels * itemsize))


def _fill_columns(
    columns: Array, image: Array, first: int, stride: int, padding: tuple[int, int]
) -> None:
    """Write C for the output rows from `first` on: tap (i, j) is the image shifted by (i, j).

    columns: (rows, out width, kernel height, kernel width, channels).
    """
    rows, width, kernel_height, kernel_width, _ = columns.shape
    for i in range(kernel_height):
        shift_y = first * stride + i - padding[0]
        y_first, y_end = _inside(rows, shift_y, stride, image.shape[0])
        for j in range(kernel_width):
            shift_x = j - padding[1]
            x_first, x_end = _inside(width, shift_x, stride, image.shape[1])
            tap = columns[:, :, i, j]
            tap[:y_first] = 0
            tap[y_end:] = 0
            tap[:, :x_first] = 0
            tap[:, x_end:] = 0
            if y_first < y_end and x_first < x_end:
                source_y = shift_y + y_first * stride
                source_x = shift_x + x_first * stride
                tap[y_first:y_end, x_first:x_end] = image[
                    source_y : source_y + (y_end - y_first - 1) * stride + 1 : stride,
                    source_x : source_x + (x_end - x_first - 1) * stride + 1 : stride,
                ]


def _inside(count: int, shift: int, stride: int, size: int) -> tuple[int, int]:
    """Return the range of n in 0..count with 0 <= n stride + shift < size."""
    first = min(count, max(0, -(shift // stride)))
    end = max(first, min(count, (size - 1 - shift) // stride + 1))
    return first, end
