r"""Convolution.

Forward
-------
With the kernel W of size k_h x k_w, stride s, zero padding p and bias b, the pre-activation at
row y, column x, channel o is (CNNs call it convolution; the kernel is not turned)

    Z[y, x, o] = b[o] + sum_{i, j, c}  X[s y + i - p, s x + j - p, c]  W[i, j, c, o]

where X counts as 0 outside of the image. Written as one matrix product, it is

    Z = C W + b,     C[(y, x), (i, j, c)] = X[s y + i - p, s x + j - p, c]

The columns C would fill k_h k_w times the memory of the image, so they are built for a strip of
rows at a time, small enough to stay in the cache, and multiplied at once.

Derivatives
-----------
Let g = dL/dZ. Each derivative is the sum over all outputs that an input went into:

    dL/dX[u, v, c]    = sum_{i, j, o}  g[(u + p - i) / s, (v + p - j) / s, o]  W[i, j, c, o]
    dL/dW[i, j, c, o] = sum_{y, x}     X[s y + i - p, s x + j - p, c]  g[y, x, o]    = C^T g
    dL/db[o]          = sum_{y, x}     g[y, x, o]

The first sum takes only whole quotients. Spread g by writing s - 1 zeros between neighbours and
turn the kernel by 180 degrees, W'[i, j, o, c] = W[k_h - 1 - i, k_w - 1 - j, c, o], and it is a
convolution again, of stride 1 and padding k - 1 - p: the same code serves both ways.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
(arXiv 1603.07285), sections 2 and 4.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import empty
from npstyle.engine.cpu.relu import relu_backward
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.sizes import output_size
from npstyle.engine.threads import (
    even_strips,
    evenness,
    on_gpu,
    parallel_for,
    pieces,
    strips,
    workspace,
)

Array = NDArray[Any]

STRIP_BYTES = 2 << 20
"""Memory of one strip's columns; a strip of this size stays in a core's share of the cache."""

FEW_CHANNELS = 8
"""With fewer channels than this, in or out, copying costs more than multiplying."""

PARTIAL_SUMS = 8
"""Pieces of the image whose weight gradients are summed apart, so that threads can share them."""


def conv2d(
    image: Array,
    weight: Array,
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
        Any float dtype.
    weight : array (kernel height, kernel width, channels in, channels out)
        The filters.
    bias : array (channels out,), optional
        Added to every position.
    stride : int
        Step between neighbouring outputs, in pixels.
    padding : int
        Rows and columns of zeros on each side of the image.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (out height, out width, channels out)
        With out height = floor((height + 2 padding - kernel height) / stride) + 1.

    Raises
    ------
    ValueError
        If the channels disagree or the kernel is larger than the padded image.
    """
    if on_gpu(image):
        return gpu.conv2d(image, weight, bias, stride, padding, rectify=rectify)
    _check(image, weight, stride)
    size = output_size(image.shape, weight.shape, stride, padding)
    return _correlate(image, weight, bias, stride, (padding, padding), size, rectify)


def conv2d_backward(
    gradient: Array,
    weight: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    activation: Array | None = None,
) -> Array:
    """Derivative of `conv2d` with respect to the image.

    Parameters
    ----------
    gradient : array (out height, out width, channels out)
        dL/dZ; or, with `activation`, dL/dF where F = max(Z, 0), and then it may be written over.
    weight : array (kernel height, kernel width, channels in, channels out)
        The filters of the forward pass.
    image_shape : tuple
        Shape (height, width, channels in) of the forward pass's image.
    stride, padding : int
        As in the forward pass.
    activation : array (out height, out width, channels out), optional
        F, what the forward pass with `rectify` returned, or the booleans F > 0: the gradient
        passes there.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.conv2d_backward(gradient, weight, image_shape, stride, padding, activation)
    if activation is not None:
        gradient = relu_backward(gradient, activation, out=gradient)
    turned = weight[::-1, ::-1].transpose(0, 1, 3, 2)
    kernel_height, kernel_width = weight.shape[:2]
    start = (kernel_height - 1 - padding, kernel_width - 1 - padding)
    spread = _spread(gradient, stride)
    size = (image_shape[0], image_shape[1])
    if image_shape[2] < FEW_CHANNELS:
        return _correlate_to_few(spread, turned, start, size)
    return _correlate(spread, turned, None, 1, start, size)


def conv2d_backward_weights(
    gradient: Array, image: Array, kernel_size: tuple[int, int], stride: int = 1, padding: int = 0
) -> tuple[Array, Array]:
    """Derivative of `conv2d` with respect to weight and bias.

    Parameters
    ----------
    gradient : array (out height, out width, channels out)
        dL/dZ.
    image : array (height, width, channels in)
        The image of the forward pass.
    kernel_size : (int, int)
        Kernel height and width.
    stride, padding : int
        As in the forward pass.

    Returns
    -------
    weight_gradient : array (kernel height, kernel width, channels in, channels out)
        dL/dW = C^T g.
    bias_gradient : array (channels out,)
        dL/db.
    """
    out_height, out_width, filters = gradient.shape
    channels = image.shape[2]
    rows = _strip_rows(out_width, kernel_size, channels, image.itemsize)
    # One partial sum per piece of the image: few pieces, since each sum is as large as W.
    parts = pieces(out_height, PARTIAL_SUMS)
    matrix_rows = kernel_size[0] * kernel_size[1] * channels
    dtype = np.result_type(image, gradient)
    partial = np.zeros((len(parts), matrix_rows, filters), dtype)

    def multiply(queue: Iterator[tuple[int, tuple[int, int]]]) -> None:
        strip = np.empty((rows, out_width, *kernel_size, channels), dtype)
        for k, (part_first, part_end) in queue:
            for first, end in strips(part_end - part_first, rows):
                columns = strip[: end - first]
                _fill_columns(columns, image, part_first + first, stride, (padding, padding))
                upstream = gradient[part_first + first : part_first + end].reshape(-1, filters)
                partial[k] += columns.reshape(-1, matrix_rows).T @ upstream

    parallel_for(multiply, enumerate(parts))
    weight_gradient = partial.sum(axis=0).reshape(*kernel_size, channels, filters)
    return weight_gradient, gradient.sum(axis=(0, 1))


def _check(image: Array, weight: Array, stride: int) -> None:
    if image.ndim != 3 or weight.ndim != 4 or image.shape[2] != weight.shape[2]:
        raise ValueError(
            "conv2d: expected an image (height, width, channels in) and a weight "
            "(kernel height, kernel width, channels in, channels out), "
            f"got {image.shape} and {weight.shape}"
        )
    if stride < 1:
        raise ValueError(f"conv2d: the stride must be 1 or more, got {stride}")


def _correlate(
    image: Array,
    weight: Array,
    bias: Array | None,
    stride: int,
    padding: tuple[int, int],
    size: tuple[int, int],
    rectify: bool = False,
) -> Array:
    """Z = C W + b, or max(Z, 0), strip by strip, for an output of `size` = (height, width).

    `padding` = (top, left) says where the window starts; it may be negative, which crops.
    """
    *kernel_size, channels, filters = weight.shape
    dtype = np.result_type(image, weight) if bias is None else np.result_type(image, weight, bias)
    few = channels < FEW_CHANNELS
    matrix = np.ascontiguousarray(weight).reshape(-1, filters)
    if few and bias is not None:  # one more tap, which is 1 everywhere
        matrix = np.vstack([matrix, bias])
    if few:  # one plane per channel, so that its rows are read at one go
        image = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    out = empty((*size, filters), dtype)
    rows = _strip_rows(size[1], (weight.shape[0], weight.shape[1]), channels, out.itemsize)
    taps = weight.size // filters

    def multiply(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            positions = (end - first) * size[1]
            flat = workspace(positions * len(matrix), dtype)
            if few:
                # Written tap by tap, not position by position: long runs instead of short ones.
                every = flat.reshape(-1, positions)
                every[taps:] = 1
                columns = every[:taps].reshape(*kernel_size, channels, end - first, size[1])
                columns, C = columns.transpose(3, 4, 0, 1, 2), every.T
            else:
                columns = flat.reshape(end - first, size[1], *kernel_size, channels)
                C = flat.reshape(positions, -1)
            _fill_columns(columns, image, first, stride, padding)
            product = out[first:end].reshape(-1, filters)
            np.matmul(C, matrix, out=product)
            if bias is not None and not few:
                product += bias
            if rectify:
                np.maximum(product, 0, out=product)

    entries = size[0] * size[1] * len(matrix)
    parallel_for(multiply, even_strips(size[0], rows, evenness(entries)))
    return out


def _correlate_to_few(
    image: Array, weight: Array, padding: tuple[int, int], size: tuple[int, int]
) -> Array:
    """The same sum with stride 1, multiplied before it is shifted: for few channels out.

    P[u, v, (i, j, o)] = sum_c X[u, v, c] W[i, j, c, o] has k_h k_w channels per channel out, and
    Z[y, x, o] is the sum of P over the taps (i, j), each shifted by its place in the kernel.
    """
    kernel_height, kernel_width, channels, filters = weight.shape
    dtype = np.result_type(image, weight)
    taps = kernel_height * kernel_width
    matrix = weight.transpose(0, 1, 3, 2).reshape(taps * filters, channels)
    planes = np.zeros((filters, *size), dtype)
    rows = max(1, STRIP_BYTES // (image.shape[1] * channels * image.itemsize))

    def work(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            top = max(0, first - padding[0])
            bottom = min(len(image), end - 1 + kernel_height - padding[0])
            positions = image[top:bottom].reshape(-1, channels)
            flat = workspace(len(matrix) * len(positions), dtype)
            product = flat.reshape(len(matrix), -1)
            np.matmul(matrix, positions.T, out=product)
            product = product.reshape(*weight.shape[:2], filters, bottom - top, image.shape[1])
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


def _strip_rows(width: int, kernel_size: tuple[int, int], channels: int, itemsize: int) -> int:
    """Rows of output whose columns fill about STRIP_BYTES."""
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
    """Range of n in 0..count with 0 <= n stride + shift < size."""
    first = min(count, max(0, -(shift // stride)))
    end = max(first, min(count, (size - 1 - shift) // stride + 1))
    return first, end


def _spread(gradient: Array, stride: int) -> Array:
    """Write stride - 1 rows and columns of zeros between neighbouring positions."""
    if stride == 1:
        return gradient
    height, width, channels = gradient.shape
    spread = np.zeros(
        ((height - 1) * stride + 1, (width - 1) * stride + 1, channels), gradient.dtype
    )
    spread[::stride, ::stride] = gradient
    return spread
