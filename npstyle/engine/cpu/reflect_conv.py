"""Convolution of an image that is mirrored at its edges, strip by strip.

The formulas are those of `npstyle.maths.padding` and `npstyle.maths.conv`, one after the other. The
padded image never exists as a whole: each strip takes the rows that it needs, with their border,
into memory that stays in the cache.

Two ways lead from there to the sum Z = sum_ij W_ij K_ij:

- all k_h k_w taps of a strip as the columns of one matrix, which is multiplied by the kernel. For
  few channels, such as those of a photo, only the k_w taps along each row are copied; the taps of
  a row of Z are those of k_h such rows, which lie one after the other in memory;
- for few filters, such as the three colours of a picture, only the k_w taps along a row as columns.
  One product gives the k_h sums over a row of the kernel, P_i = sum_j W_ij K_ij, and Z is their sum
  over i, each shifted by i rows. A 9x9 kernel is copied 9 times instead of 81 times.
"""

from collections.abc import Callable, Iterator

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu.conv import conv2d_backward
from npstyle.engine.cpu.reflection import mirrored, reflect_pad_backward
from npstyle.engine.cpu.rows import as_rows, for_a_row
from npstyle.engine.strips import Range, even_strips
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array
from npstyle.maths.windows import output_size

STRIP_BYTES = 2 << 20
"""Memory of the columns of a strip, in bytes; it stays in a core's cache."""

FEW_FILTERS = 8
"""Up to so many filters, the products are summed by rows of the kernel."""

HALOS = 4
"""Height of a strip that is summed by rows, in heights of the kernel: the strip needs almost one of
them more, at its edges."""

FEW_CHANNELS = 8
"""With fewer channels than this, columns are copied plane by plane: the copies are longer."""


def reflect_conv2d(
    image: Array,
    kernel: Array,
    bias: Array,
    stride: int = 1,
    padding: int = 0,
    *,
    rectify: bool = False,
) -> Array:
    """Mirror an image at its edges and convolve it.

    Parameters
    ----------
    image : array (height, width, channels in)
        X, any float dtype.
    kernel : array (kernel height, kernel width, channels in, channels out)
        K, in the image's dtype.
    bias : array (channels out,)
        b.
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
        If the image has p rows or columns, or fewer.
    """
    size = output_size(image.shape, kernel.shape, stride, padding)
    source = _Rows(image, padding)
    out = empty((*size, kernel.shape[3]), image.dtype)
    strip, rows_of_strip = _way(source, kernel, stride, size[1])
    biases = for_a_row(bias, out)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip(out[first:end], first, end)
            rows = as_rows(out[first:end])
            rows += biases
            if rectify:
                np.maximum(rows, 0, out=rows)

    parallel_for(work, even_strips(size[0], rows_of_strip))
    return out


def reflect_conv2d_backward(
    upstream: Array,
    kernel: Array,
    image_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
) -> Array:
    """Derivative of `reflect_conv2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels out)
        dL/dZ.
    image_shape : (height, width, channels in)
        Shape of X.
    kernel, stride, padding
        As in `reflect_conv2d`.

    Returns
    -------
    array (height, width, channels in)
        dL/dX.
    """
    height, width, channels = image_shape
    padded_shape = (height + 2 * padding, width + 2 * padding, channels)
    return reflect_pad_backward(conv2d_backward(upstream, kernel, padded_shape, stride), padding)


class _Rows:
    """Rows of an image with its mirrored border."""

    def __init__(self, image: Array, padding: int) -> None:
        self._image, self._padding = image, padding
        self._rows, self._columns = (mirrored(n, padding) for n in image.shape[:2])
        self.width, self.channels, self.dtype = len(self._columns), image.shape[2], image.dtype

    def fill(self, out: Array, first: int) -> None:
        """Write rows from `first` on, counted with the border, into (rows, width, channels)."""
        p = self._padding
        inside = slice(p, self.width - p)
        for row, y in enumerate(self._rows[first : first + len(out)]):
            out[row, inside] = self._image[y]
        for place in (*range(p), *range(self.width - p, self.width)):
            out[:, place] = out[:, p + self._columns[place]]


Strip = Callable[[Array, int, int], None]
"""Writes the rows first..end of Z, without the bias."""


def _way(source: _Rows, kernel: Array, stride: int, width: int) -> tuple[Strip, int]:
    """Choose how the strips of Z are computed, and how many rows they have at most."""
    k_h, k_w, channels, filters = kernel.shape
    if filters <= FEW_FILTERS and stride == 1:
        return _by_rows(source, kernel, width), HALOS * k_h
    row = k_w * channels * width * source.dtype.itemsize
    if channels < FEW_CHANNELS:
        return _by_taps_along_rows(source, kernel, stride, width), STRIP_BYTES // (stride * row)
    return _by_taps(source, kernel, stride, width), STRIP_BYTES // (k_h * row)


def _by_taps(source: _Rows, kernel: Array, stride: int, width: int) -> Strip:
    """All taps as columns."""
    k_h, k_w, channels, filters = kernel.shape
    matrix = np.ascontiguousarray(kernel, source.dtype).reshape(-1, filters)

    def strip(out: Array, first: int, end: int) -> None:
        count = end - first
        rows = (count - 1) * stride + k_h
        values = rows * source.width * channels
        flat = workspace(values + count * width * len(matrix), source.dtype)
        padded = flat[:values].reshape(rows, source.width, channels)
        source.fill(padded, first * stride)
        columns = flat[values:].reshape(count, width, k_h, k_w * channels)
        row, column, value = padded.strides
        for i in range(k_h):
            # The k_w taps of a row are neighbours in memory.
            columns[:, :, i] = np.ndarray(
                (count, width, k_w * channels),
                padded.dtype,
                padded,
                i * row,
                (stride * row, stride * column, value),
            )
        np.matmul(columns.reshape(-1, len(matrix)), matrix, out=out.reshape(-1, filters))

    return strip


def _by_taps_along_rows(source: _Rows, kernel: Array, stride: int, width: int) -> Strip:
    """The taps along a row as columns; those of a row of Z are k_h such rows, one after another."""
    k_h, k_w, channels, filters = kernel.shape
    matrix = np.ascontiguousarray(kernel, source.dtype).reshape(-1, filters)

    def strip(out: Array, first: int, end: int) -> None:
        count = end - first
        rows = (count - 1) * stride + k_h
        values = rows * source.width * channels
        flat = workspace(2 * values + rows * width * k_w * channels, source.dtype)
        planes = _planes(source, flat, rows, first * stride)
        columns = flat[2 * values :].reshape(rows, k_w, channels, width)
        for j in range(k_w):
            tap = planes[:, :, j : j + (width - 1) * stride + 1 : stride]
            columns[:, j] = tap.transpose(1, 0, 2)
        row, _, each, value = columns.strides
        shape = count, len(matrix), width
        taps = np.ndarray(shape, columns.dtype, columns, strides=(stride * row, each, value))
        np.matmul(taps.transpose(0, 2, 1), matrix, out=out)

    return strip


def _by_rows(source: _Rows, kernel: Array, width: int) -> Strip:
    """The taps along a row as columns, and the sums over rows afterwards; the stride is 1."""
    k_h, k_w, channels, filters = kernel.shape
    by_rows = kernel.transpose(0, 3, 1, 2).reshape(k_h * filters, k_w * channels)
    matrix = np.ascontiguousarray(by_rows, source.dtype)

    def strip(out: Array, first: int, end: int) -> None:
        rows = end - first + k_h - 1
        values, each = rows * source.width * channels, rows * sum(matrix.shape)
        block = min(width, max(1, STRIP_BYTES // (each * source.dtype.itemsize)))
        flat = workspace(2 * values + block * each, source.dtype)
        planes = _planes(source, flat, rows, first)
        for left in range(0, width, block):
            right = min(left + block, width)
            positions = rows * (right - left)
            columns = flat[2 * values :][: positions * matrix.shape[1]].reshape(-1, positions)
            taps = columns.reshape(k_w, channels, rows, right - left)
            for j in range(k_w):
                taps[j] = planes[:, :, left + j : right + j]
            sums = flat[2 * values + columns.size :][: positions * len(matrix)]
            np.matmul(matrix, columns, out=sums.reshape(len(matrix), positions))
            by_row = sums.reshape(k_h, filters, rows, right - left)
            total = by_row[0, :, : end - first]
            for i in range(1, k_h):
                total += by_row[i, :, i : i + end - first]
            out[:, left:right] = total.transpose(1, 2, 0)

    return strip


def _planes(source: _Rows, flat: Array, rows: int, first: int) -> Array:
    """The padded rows from `first` on as (channels, rows, width), at the front of a workspace."""
    values = rows * source.width * source.channels
    padded = flat[:values].reshape(rows, source.width, source.channels)
    source.fill(padded, first)
    planes = flat[values : 2 * values].reshape(source.channels, rows, source.width)
    planes[:] = padded.transpose(2, 0, 1)
    return planes
