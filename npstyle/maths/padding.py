"""Padding: what a convolution sees beyond the edge of the image.

Padding by p adds p rows and p columns on each side.

Zero padding
------------
    Y[u + p, v + p] = X[u, v] inside the image, 0 outside

    dL/dX[u, v] = dL/dY[u + p, v + p]

The padded zeros are constants, so the gradient that arrives at them is dropped. VGG pads this way.

Replicate padding
-----------------
The nearest pixel of the image continues beyond the edge. With clip(u) = min(max(u, 0), height - 1),

    Y[u + p, v + p] = X[clip(u), clip(v)],     u = -p, ..., height - 1 + p

A pixel at the edge is copied to several places. By the chain rule it collects the gradients of all
its copies:

    dL/dX[y, x] = sum of dL/dY[u + p, v + p] over all (u, v) with clip(u) = y and clip(v) = x

Replicate padding avoids the dark frame that zero padding leaves in the picture.
"""

import numpy as np

from npstyle.maths.array import Array


def zero_pad(image: Array, padding: int) -> Array:
    """Surround an image with zeros.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    padding : int
        p.

    Returns
    -------
    array (height + 2p, width + 2p, channels)
        Y.
    """
    return np.pad(image, ((padding, padding), (padding, padding), (0, 0)))


def zero_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `zero_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width = upstream.shape[0] - 2 * padding, upstream.shape[1] - 2 * padding
    return upstream[padding : padding + height, padding : padding + width]


def replicate_pad(image: Array, padding: int) -> Array:
    """Continue the pixels at the edge of an image; parameters and result as in `zero_pad`."""
    rows, columns = _nearest(image.shape[0], padding), _nearest(image.shape[1], padding)
    return image[rows[:, np.newaxis], columns]


def replicate_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `replicate_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width = upstream.shape[0] - 2 * padding, upstream.shape[1] - 2 * padding
    rows, columns = _nearest(height, padding), _nearest(width, padding)
    gradient = np.zeros((height, width, upstream.shape[2]), upstream.dtype)
    np.add.at(gradient, (rows[:, np.newaxis], columns), upstream)
    return gradient


def _nearest(length: int, padding: int) -> Array:
    """clip(u) for u = -p, ..., length - 1 + p: the nearest pixel along one axis."""
    return np.clip(np.arange(-padding, length + padding), 0, length - 1)
