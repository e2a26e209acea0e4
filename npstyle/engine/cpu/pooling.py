"""Pooling in strips of rows; the formulas are in `npstyle.maths.pooling`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.strips import SMALL, Range, strips
from npstyle.engine.threads import parallel_for
from npstyle.maths.array import Array
from npstyle.maths.windows import windows

ROWS = 8
"""Rows of the output in a strip."""


def avg_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Average over each window.

    Parameters
    ----------
    image : array (height, width, channels)
        X, any float dtype.
    size : int
        Side k of the window.
    stride : int, optional
        Step s between windows; k by default.

    Returns
    -------
    array (floor((height - k) / s) + 1, floor((width - k) / s) + 1, channels)
        Y.

    Raises
    ------
    ValueError
        If the window is larger than the image.
    """
    slices = _slices(image, size, stride)
    pooled = empty(slices[0].shape, image.dtype)
    factor = _share(size, image)

    def average(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = pooled[first:end]
            strip[:] = slices[0][first:end]
            for window in slices[1:]:
                strip += window[first:end]
            strip *= factor

    parallel_for(average, _strips(pooled, image))
    return pooled


def avg_pool2d_backward(
    upstream: Array, image_shape: tuple[int, ...], size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `avg_pool2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels)
        dL/dY.
    image_shape : (height, width, channels)
        Shape of X.
    size, stride
        As in `avg_pool2d`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    stride = stride or size
    tiled = stride == size and all(n % size == 0 for n in image_shape[:2])
    gradient = empty(image_shape, upstream.dtype)
    if not tiled:
        gradient[:] = 0
    slices = _slices(gradient, size, stride)
    factor = _share(size, upstream)

    def distribute(queue: Iterator[Range]) -> None:
        for first, end in queue:
            share_of_each = upstream[first:end] * factor
            for window in slices:
                if tiled:  # every pixel lies in one window
                    window[first:end] = share_of_each
                else:
                    window[first:end] += share_of_each

    parallel_for(distribute, _strips_apart(upstream, gradient, size, stride))
    return gradient


def avg_pool2d_backward_rows(upstream: Array, out: Array, first: int, size: int) -> None:
    """Compute some rows of `avg_pool2d_backward`, for a stride equal to the size.

    Parameters
    ----------
    upstream : array (out height, out width, channels)
        dL/dY.
    out : array (rows, width, channels)
        Receives the rows of dL/dX from `first` on.
    first, size : int
    """
    height, width = upstream.shape[:2]
    pooled = np.arange(first, first + len(out)) // size
    inside = np.count_nonzero(pooled < height)
    share_of_each = upstream[pooled[:inside]] * _share(size, upstream)
    for column in range(size):
        out[:inside, column : size * width : size] = share_of_each
    out[inside:] = 0
    out[:, size * width :] = 0


def max_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the maximum of each window; parameters and result as in `avg_pool2d`."""
    slices = _slices(image, size, stride)
    pooled = empty(slices[0].shape, image.dtype)

    def maximum(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = pooled[first:end]
            strip[:] = slices[0][first:end]
            for window in slices[1:]:
                np.maximum(strip, window[first:end], out=strip)

    parallel_for(maximum, _strips(pooled, image))
    return pooled


def max_pool2d_backward(
    upstream: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `max_pool2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels)
        dL/dY.
    image : array (height, width, channels)
        X.
    pooled : array (out height, out width, channels)
        Y.
    size, stride
        As in `avg_pool2d`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    stride = stride or size
    gradient = empty(image.shape, upstream.dtype)
    gradient[:] = 0
    pairs = list(zip(_slices(image, size, stride), _slices(gradient, size, stride), strict=True))

    def distribute(queue: Iterator[Range]) -> None:
        for first, end in queue:
            undecided = np.ones(pooled[first:end].shape, bool)
            for window, window_gradient in pairs:
                wins = undecided & (window[first:end] == pooled[first:end])
                window_gradient[first:end] += upstream[first:end] * wins
                undecided &= ~wins

    parallel_for(distribute, _strips_apart(upstream, gradient, size, stride))
    return gradient


def l2_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the root mean square of each window; parameters and result as in `avg_pool2d`."""
    slices = _slices(image, size, stride)
    pooled = empty(slices[0].shape, image.dtype)
    factor = _share(size, image)

    def root_mean_square(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = pooled[first:end]
            strip[:] = 0
            for window in slices:
                strip += window[first:end] ** 2
            strip *= factor
            np.sqrt(strip, out=strip)

    parallel_for(root_mean_square, _strips(pooled, image))
    return pooled


def l2_pool2d_backward(
    upstream: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `l2_pool2d` with respect to the image; parameters as in `max_pool2d_backward`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    slope = np.zeros_like(upstream)
    np.divide(upstream, pooled, out=slope, where=pooled > 0)
    gradient = avg_pool2d_backward(slope, image.shape, size, stride)
    gradient *= image
    return gradient


def _slices(image: Array, size: int, stride: int | None) -> list[Array]:
    """Views of the image, one for each place in the window, in reading order."""
    return [window for _, window in windows(image, (size, size), stride or size)]


def _strips(pooled: Array, image: Array) -> list[Range]:
    return strips(len(pooled), ROWS if image.size > SMALL else len(pooled))


def _strips_apart(upstream: Array, gradient: Array, size: int, stride: int) -> list[Range]:
    """Strips of the upstream gradient; a single one where windows overlap.

    Two threads would add to the same row there.
    """
    apart = stride >= size and gradient.size > SMALL
    return strips(len(upstream), ROWS if apart else len(upstream))


def _share(size: int, like: Array) -> Any:
    """1/k^2 in the precision of an array, so that the array keeps its dtype."""
    return like.dtype.type(1) / like.dtype.type(size * size)
