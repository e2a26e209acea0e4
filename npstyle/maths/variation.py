"""Total variation: how rough a picture is.

    T = sum (X[y, x+1] - X[y, x])^2 + sum (X[y+1, x] - X[y, x])^2

sums the squared differences between neighbouring pixels, for each channel by itself. A pixel occurs
in up to four of them, one for each neighbour q on its left and right, above and below:

    dT/dX[y, x] = 2 sum_q (X[y, x] - q)

Added to the loss with a small weight it removes grain. The paper does not have it; jcjohnson's
program neural-style does.
"""

import numpy as np

from npstyle.maths.array import Array


def total_variation(image: Array) -> Array:
    """Sum of the squared differences of neighbours.

    Parameters
    ----------
    image : array (height, width, channels)
        X.

    Returns
    -------
    scalar
        T.
    """
    return np.sum(np.diff(image, axis=0) ** 2) + np.sum(np.diff(image, axis=1) ** 2)


def total_variation_backward(image: Array) -> Array:
    """Derivative of `total_variation` with respect to the image, of its shape."""
    gradient = np.zeros_like(image)
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    gradient[1:] += 2 * down
    gradient[:-1] -= 2 * down
    gradient[:, 1:] += 2 * right
    gradient[:, :-1] -= 2 * right
    return gradient
