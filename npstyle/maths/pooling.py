"""Pooling: each window of k x k positions becomes one value per channel.

The window moves in steps of s, and W_ij are its slices (`npstyle.maths.windows`). A window that
would reach over the edge is dropped, as in PyTorch and Keras: with k = s = 2, the last row of an
odd height takes no part, and its gradient is 0.

Average pooling
---------------
    Y = 1/k^2 sum_{i, j} W_ij
    dL/dW_ij = 1/k^2 dL/dY

The paper replaces VGG's max pooling by average pooling, because the pictures look better.

Max pooling
-----------
    Y = max_{i, j} W_ij
    dL/dW_ij = dL/dY    where (i, j) is the winner of the window, else 0

The winner is the first maximum in reading order. Where two positions tie, the function has a kink;
this choice, which is also Caffe's and PyTorch's, is one of its subgradients.

Root mean square pooling (l2)
-----------------------------
    Y = sqrt( 1/k^2 sum_{i, j} W_ij^2 )
    dL/dW_ij = W_ij / (k^2 Y) dL/dY

Where a whole window is 0, the function has a kink, like |x| at 0, and the derivative is taken as 0.

In each case a position of X may lie in several windows; its gradient is the sum over them.

Global average pooling has one window, the whole image of M positions:

    Y = 1/M sum_{y, x} X[y, x]
    dL/dX[y, x] = 1/M dL/dY
"""

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.windows import windows


def avg_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Average over each window.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    size : int
        k.
    stride : int, optional
        s; k by default.

    Returns
    -------
    array (out height, out width, channels)
        Y, with out height = floor((height - k) / s) + 1.

    Raises
    ------
    ValueError
        If the window is larger than the image.
    """
    slices = [window for _, window in windows(image, (size, size), stride or size)]
    return np.mean(slices, axis=0, dtype=image.dtype)


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
    gradient = np.zeros(image_shape, upstream.dtype)
    for _, window in windows(gradient, (size, size), stride or size):
        window += upstream / upstream.dtype.type(size**2)
    return gradient


def max_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the maximum of each window; parameters and result are those of `avg_pool2d`."""
    slices = [window for _, window in windows(image, (size, size), stride or size)]
    return np.max(slices, axis=0)


def max_pool2d_winners(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Number the winner of each window, 0 to k^2 - 1 in reading order.

    Parameters are those of `avg_pool2d`.

    Returns
    -------
    uint8 array (out height, out width, channels)
        It changes where the derivative of `max_pool2d` changes, and nowhere else.
    """
    slices = [window for _, window in windows(image, (size, size), stride or size)]
    return np.argmax(slices, axis=0).astype(np.uint8)


def max_pool2d_backward(
    upstream: Array, image: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `max_pool2d` with respect to the image.

    Parameters
    ----------
    upstream : array (out height, out width, channels)
        dL/dY.
    image : array (height, width, channels)
        X.
    size, stride
        As in `avg_pool2d`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    winners = max_pool2d_winners(image, size, stride)
    gradient = np.zeros(image.shape, upstream.dtype)
    for (i, j), window in windows(gradient, (size, size), stride or size):
        window += upstream * (winners == i * size + j)
    return gradient


def l2_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the root mean square of each window; parameters and result as in `avg_pool2d`."""
    return np.sqrt(avg_pool2d(image**2, size, stride))


def l2_pool2d_backward(
    upstream: Array, image: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `l2_pool2d` with respect to the image; parameters as in `max_pool2d_backward`.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    Y = l2_pool2d(image, size, stride)
    slope = np.divide(upstream, Y, out=np.zeros_like(upstream), where=Y != 0)
    return image * avg_pool2d_backward(slope, image.shape, size, stride)


def global_avg_pool(image: Array) -> Array:
    """Average each channel over all positions: Y, an array (1, 1, channels)."""
    return np.mean(image, axis=(0, 1), keepdims=True, dtype=image.dtype)


def global_avg_pool_backward(upstream: Array, image_shape: tuple[int, ...]) -> Array:
    """Derivative of `global_avg_pool`: dL/dX, of shape (height, width, channels), from dL/dY."""
    share = upstream / upstream.dtype.type(image_shape[0] * image_shape[1])
    return np.broadcast_to(share, image_shape).copy()
