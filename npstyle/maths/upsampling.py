"""Nearest-neighbour upsampling: each pixel becomes a block of f x f equal pixels.

    Y[y, x] = X[floor(y / f), floor(x / f)]

Each pixel of X is copied f^2 times, and collects the gradients of its copies:

    dL/dX[u, v] = sum_{i, j = 0}^{f - 1}  dL/dY[f u + i, f v + j]

Upsampling followed by a convolution does not leave the checkerboard of a transposed convolution:
Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts" (Distill, 2016).
"""

from npstyle.maths.array import Array


def upsample(image: Array, factor: int) -> Array:
    """Enlarge an image.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    factor : int
        f.

    Returns
    -------
    array (f height, f width, channels)
        Y.
    """
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def upsample_backward(upstream: Array, factor: int) -> Array:
    """Derivative of `upsample`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width, channels = upstream.shape
    blocks = upstream.reshape(height // factor, factor, width // factor, factor, channels)
    return blocks.sum(axis=(1, 3))
