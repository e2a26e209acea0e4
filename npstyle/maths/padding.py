"""Padding: what a convolution sees beyond the edge of the image.

Padding by p adds p rows above and below the image, and p columns to its left and right. Zero
padding may add another number, q, below and to the right.

Zero padding
------------
    Y[u + p, v + p] = X[u, v] inside the image, 0 outside

    dL/dX[u, v] = dL/dY[u + p, v + p]

The padded zeros are constants, so the gradient that arrives at them is dropped. VGG pads this way.

Replicate padding
-----------------
The nearest pixel of the image continues beyond the edge. With clip(u) = min(max(u, 0), height - 1),

    Y[u + p, v + p] = X[clip(u), clip(v)],     u = -p, ..., height - 1 + p

and likewise for v, with the width. A pixel at the edge is copied to several places. By the chain
rule it collects the gradients of all its copies:

    dL/dX[y, x] = sum of dL/dY[u + p, v + p]    over all (u, v) with clip(u) = y and clip(v) = x

Replicate padding avoids the dark frame that zero padding leaves in the picture.

Reflect padding
---------------
The image is mirrored at its outermost pixels, which are not repeated. The formula is the same, with

    mirror(u) = |u|  for u < height, else 2 (height - 1) - u

in place of clip, and the gradient is collected in the same way. Feed-forward style networks pad
like this.
"""

import numpy as np

from npstyle.maths.array import Array


def zero_pad(image: Array, padding: int, after: int | None = None) -> Array:
    """Surround an image with zeros.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    padding : int
        p.
    after : int, optional
        q; p by default.

    Returns
    -------
    array (height + p + q, width + p + q, channels)
        Y.
    """
    sides = (padding, padding if after is None else after)
    return np.pad(image, (sides, sides, (0, 0)))


def zero_pad_backward(upstream: Array, padding: int, after: int | None = None) -> Array:
    """Derivative of `zero_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    both = 2 * padding if after is None else padding + after
    height, width = upstream.shape[0] - both, upstream.shape[1] - both
    return upstream[padding : padding + height, padding : padding + width]


def replicate_pad(image: Array, padding: int) -> Array:
    """Continue the pixels at the edge of an image; parameters and result as in `zero_pad`."""
    rows, columns = _nearest(image.shape[0], padding), _nearest(image.shape[1], padding)
    return image[rows[:, np.newaxis], columns]


def replicate_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `replicate_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width = upstream.shape[0] - 2 * padding, upstream.shape[1] - 2 * padding
    return _collect(upstream, _nearest(height, padding), _nearest(width, padding))


def reflect_pad(image: Array, padding: int) -> Array:
    """Mirror an image at its edges; parameters and result as in `zero_pad`.

    Raises
    ------
    ValueError
        If the image has at most p rows or at most p columns.
    """
    if padding >= min(image.shape[:2]):
        raise ValueError(
            f"an image of {image.shape[0]}x{image.shape[1]} is too small to be mirrored by "
            f"{padding} rows and columns; use a larger image"
        )
    rows, columns = _mirrored(image.shape[0], padding), _mirrored(image.shape[1], padding)
    return image[rows[:, np.newaxis], columns]


def reflect_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `reflect_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width = upstream.shape[0] - 2 * padding, upstream.shape[1] - 2 * padding
    return _collect(upstream, _mirrored(height, padding), _mirrored(width, padding))


def _nearest(length: int, padding: int) -> Array:
    """clip(u) for u = -p, ..., length - 1 + p: the nearest pixel along one axis."""
    return np.clip(np.arange(-padding, length + padding), 0, length - 1)


def _mirrored(length: int, padding: int) -> Array:
    """mirror(u) for the same u: the pixel at the same distance inside the edge."""
    u = np.abs(np.arange(-padding, length + padding))
    return np.minimum(u, 2 * (length - 1) - u)


def _collect(upstream: Array, rows: Array, columns: Array) -> Array:
    """Sum the gradients of all copies of each pixel, given the pixels that were copied."""
    shape = (rows.max() + 1, columns.max() + 1, upstream.shape[2])
    gradient = np.zeros(shape, upstream.dtype)
    np.add.at(gradient, (rows[:, np.newaxis], columns), upstream)
    return gradient
