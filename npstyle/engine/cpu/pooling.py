"""Pooling: each window of k x k positions, s apart, becomes one value per channel.

A window that would reach over the edge is dropped, as the published VGG networks do: with k = s
= 2 an odd last row or column takes no part, and its gradient is 0.

Average pooling
---------------
    Y[y, x] = 1/k^2  sum_{i, j}  X[s y + i, s x + j]
    dL/dX[u, v] = 1/k^2  sum of dL/dY over all windows that hold (u, v)

Max pooling
-----------
    Y[y, x] = max_{i, j}  X[s y + i, s x + j]
    dL/dX[u, v] = sum of dL/dY over all windows whose winner is (u, v)

The winner of a window is its first maximum in reading order, row by row; where two positions tie
the function has a kink, and this choice (Caffe's and PyTorch's) is one of its subgradients.

Root mean square pooling ("l2")
-------------------------------
    Y[y, x] = sqrt( 1/k^2  sum_{i, j}  X[s y + i, s x + j]^2 )
    dL/dX[u, v] = X[u, v] / k^2  sum of (dL/dY) / Y over all windows that hold (u, v)

It lies between the two others. Where a whole window is 0 the function has a kink, like |x| at 0,
and we take 0. (Other programs leave the 1/k^2 out, or put another factor in its place.)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import empty
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.sizes import pooled_size
from npstyle.engine.threads import SMALL, on_gpu, parallel_for, strips

Array = NDArray[Any]

ROWS = 8
"""Rows of output that are a piece of work for one thread."""


def avg_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Average over windows.

    Parameters
    ----------
    image : array (height, width, channels)
        Any float dtype.
    size : int
        Side k of the window.
    stride : int, optional
        Step s between windows; `size` if not given.

    Returns
    -------
    array (floor((height - k) / s) + 1, floor((width - k) / s) + 1, channels)

    Raises
    ------
    ValueError
        If the window is larger than the image.
    """
    if on_gpu(image):
        return gpu.pool2d("avg", image, size, stride)
    stride = stride or size
    windows = list(_windows(image, size, stride))
    total = empty(windows[0].shape, image.dtype)
    factor = _share_of_one(size, image)

    def average(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            strip = total[first:end]
            strip[:] = windows[0][first:end]
            for window in windows[1:]:
                strip += window[first:end]
            strip *= factor

    parallel_for(average, strips(len(total), ROWS if image.size > SMALL else len(total)))
    return total


def avg_pool2d_backward(
    gradient: Array, image_shape: tuple[int, ...], size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `avg_pool2d` with respect to the image.

    Parameters
    ----------
    gradient : array (out height, out width, channels)
        dL/dY.
    image_shape : tuple
        Shape (height, width, channels) of the forward pass's image.
    size, stride : int
        As in the forward pass.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.pool2d_backward("avg", gradient, image_shape, size=size, stride=stride)
    stride = stride or size
    tiled = stride == size and all(n % size == 0 for n in image_shape[:2])
    image_gradient = empty(image_shape, gradient.dtype)
    if not tiled:
        image_gradient[:] = 0
    windows = list(_windows(image_gradient, size, stride))
    factor = _share_of_one(size, gradient)

    def spread(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            share_of_each = gradient[first:end] * factor
            for window in windows:
                if tiled:  # every pixel is in one window
                    window[first:end] = share_of_each
                else:
                    window[first:end] += share_of_each

    # Windows that overlap would let two threads add to one row: those go in one piece.
    apart = stride >= size and image_gradient.size > SMALL
    parallel_for(spread, strips(len(gradient), ROWS if apart else len(gradient)))
    return image_gradient


def avg_pool2d_backward_rows(gradient: Array, out: Array, first: int, size: int) -> None:
    """Rows of what `avg_pool2d_backward` returns when stride and size are equal.

    Parameters
    ----------
    gradient : array (out height, out width, channels)
        dL/dY.
    out : array (rows, width, channels)
        Where to write the rows of dL/dX from `first` on.
    first : int
    size : int
        As in the forward pass.
    """
    height, width = gradient.shape[:2]
    pooled = np.arange(first, first + len(out)) // size
    inside = np.count_nonzero(pooled < height)
    share_of_each = gradient[pooled[:inside]] * _share_of_one(size, gradient)
    for column in range(size):
        out[:inside, column : size * width : size] = share_of_each
    out[inside:] = 0
    out[:, size * width :] = 0


def max_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the maximum of each window; parameters and result as in `avg_pool2d`."""
    if on_gpu(image):
        return gpu.pool2d("max", image, size, stride)
    stride = stride or size
    largest: Array | None = None
    for window in _windows(image, size, stride):
        if largest is None:
            largest = window.copy()
        else:
            np.maximum(largest, window, out=largest)
    assert largest is not None
    return largest


def max_pool2d_backward(
    gradient: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `max_pool2d` with respect to the image.

    Parameters
    ----------
    gradient : array (out height, out width, channels)
        dL/dY.
    image : array (height, width, channels)
        X, the input of the forward pass.
    pooled : array (out height, out width, channels)
        Y, its output.
    size, stride : int
        As in the forward pass.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.pool2d_backward("max", gradient, image.shape, image, pooled, size, stride)
    stride = stride or size
    image_gradient = empty(image.shape, gradient.dtype)
    image_gradient[:] = 0
    undecided = np.ones(pooled.shape, bool)
    for window, window_gradient in zip(
        _windows(image, size, stride), _windows(image_gradient, size, stride), strict=True
    ):
        wins = undecided & (window == pooled)
        window_gradient += gradient * wins
        undecided &= ~wins
    return image_gradient


def max_pool2d_winners(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Which place (0 .. size^2 - 1, in reading order) won each window, as `backward` sees it.

    Parameters as in `max_pool2d`. Returns an array (out height, out width, channels) of uint8;
    it changes where, and only where, the derivative of max pooling does.
    """
    places = list(_windows(image, size, stride or size))
    return np.argmax(places, axis=0).astype(np.uint8)


def l2_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the root mean square of each window; parameters and result as in `avg_pool2d`."""
    if on_gpu(image):
        return gpu.pool2d("l2", image, size, stride)
    stride = stride or size
    windows = list(_windows(image, size, stride))
    total = empty(windows[0].shape, image.dtype)
    factor = _share_of_one(size, image)

    def root_mean_square(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            strip = total[first:end]
            strip[:] = 0
            for window in windows:
                strip += window[first:end] ** 2
            strip *= factor
            np.sqrt(strip, out=strip)

    parallel_for(root_mean_square, strips(len(total), ROWS))
    return total


def l2_pool2d_backward(
    gradient: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `l2_pool2d` with respect to the image; parameters as in `max_pool2d_backward`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.pool2d_backward("l2", gradient, image.shape, image, pooled, size, stride)
    stride = stride or size
    slope = np.zeros_like(gradient)
    np.divide(gradient, pooled, out=slope, where=pooled > 0)
    image_gradient = avg_pool2d_backward(slope, image.shape, size, stride)
    image_gradient *= image
    return image_gradient


def _windows(image: Array, size: int, stride: int) -> Iterator[Array]:
    """Views of the image, one for each place (i, j) in the window, in reading order."""
    height, width = pooled_size(image.shape, size, stride)
    for i in range(size):
        for j in range(size):
            yield image[
                i : i + (height - 1) * stride + 1 : stride,
                j : j + (width - 1) * stride + 1 : stride,
            ]


def _share_of_one(size: int, like: Array) -> Any:
    """Return 1/k^2 in the precision of the array, so that the array's dtype is kept."""
    return like.dtype.type(1) / like.dtype.type(size * size)
