"""Checkerboards: patterns that a network puts into every picture, whatever the photo shows.

A network that paints computes most of its layers at a quarter of the size and enlarges their result
by P = 4. So it may treat the places in a cell of P x P pixels differently, and all cells alike. The
style loss does not forbid this: lines P pixels apart have the Gram matrices of fine strokes. The
term does. It divides the picture into square windows of n cells each. At the place (i, j) of its
cells, a window X has the mean

    R[i, j] = 1/n sum_ab X[P a + i, P b + j]

Strokes begin anywhere in a cell, and their means over many cells are nearly equal; a checkerboard
remains. With m, the mean of all R[i, j], the term of a window is

    E = n sum_ij (R[i, j] - m)^2

which is the squared length of the part of X that repeats from cell to cell. A pixel has the share
1/n in its R[i, j]. The derivative of m has no effect, because the differences R[i, j] - m sum to 0.
So what remains is

    dE/dX[P a + i, P b + j] = 2 (R[i, j] - m)

Each channel has its own E. The sum over all windows and channels is added to the training loss.

The term is npstyle's own. Odena, Dumoulin and Olah explain where the checkerboards of networks come
from: "Deconvolution and checkerboard artifacts" (Distill, 2016).
"""

import numpy as np

from npstyle.maths.array import Array


def checkerboard_loss(image: Array, period: int, side: int) -> Array:
    """Sum E over the windows and the channels of a picture.

    Parameters
    ----------
    image : array (height, width, channels)
        Rows and columns beyond the last whole window are left out.
    period : int
        P.
    side : int
        Height and width of a window, a multiple of the period.

    Returns
    -------
    scalar
    """
    n = (side // period) ** 2
    return n * np.sum(_repeated(image, period, side) ** 2)


def checkerboard_loss_backward(image: Array, period: int, side: int) -> Array:
    """Derivative of `checkerboard_loss` with respect to the image, of its shape."""
    gradient = np.zeros_like(image)
    slope = 2 * _repeated(image, period, side)
    inside = _windows(gradient, side)
    cells = np.broadcast_to(slope, _cells(inside, period, side).shape)
    inside[:] = cells.reshape(inside.shape)
    return gradient


def _windows(image: Array, side: int) -> Array:
    """The part of an image that whole windows cover, a view."""
    height, width = (n // side * side for n in image.shape[:2])
    return image[:height, :width]


def _cells(inside: Array, period: int, side: int) -> Array:
    """Windows cut into cells: (window's row, a, i, window's column, b, j, channel)."""
    height, width, channels = inside.shape
    cut = side // period, period
    return inside.reshape(height // side, *cut, width // side, *cut, channels)


def _repeated(image: Array, period: int, side: int) -> Array:
    """R - m of every window: (window's row, 1, i, window's column, 1, j, channel)."""
    R = _cells(_windows(image, side), period, side).mean(axis=(1, 4), keepdims=True)
    return R - R.mean(axis=(2, 5), keepdims=True)
