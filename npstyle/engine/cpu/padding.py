"""Padding with what stands at the edge, so that the first layer sees no black frame.

Forward
-------
With p rows and columns more on each side, and clip(u) = min(max(u, 0), height - 1)

    Y[u + p, v + p] = X[clip(u), clip(v)],     u = -p .. height - 1 + p

Derivative
----------
An edge pixel went to several places, and their gradients add up:

    dL/dX[y, x] = sum of dL/dY over all places whose pixel is (y, x)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.threads import on_gpu


def replicate(image: NDArray[Any], padding: int) -> NDArray[Any]:
    """Continue an image beyond its edges.

    Parameters
    ----------
    image : array (height, width, channels)
    padding : int
        p.

    Returns
    -------
    array (height + 2 p, width + 2 p, channels)
    """
    if on_gpu(image):
        return gpu.replicate(image, padding)
    return np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="edge")


def replicate_backward(gradient: NDArray[Any], padding: int) -> NDArray[Any]:
    """Derivative of `replicate` with respect to the image.

    Parameters
    ----------
    gradient : array (height + 2 p, width + 2 p, channels)
        dL/dY.
    padding : int
        p, as in the forward pass.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    if on_gpu(gradient):
        return gpu.replicate_backward(gradient, padding)
    p = padding
    height, width = gradient.shape[0] - 2 * p, gradient.shape[1] - 2 * p
    rows = gradient[p : p + height].copy()
    rows[0] += gradient[:p].sum(axis=0)
    rows[-1] += gradient[p + height :].sum(axis=0)
    inside = rows[:, p : p + width].copy()
    inside[:, 0] += rows[:, :p].sum(axis=1)
    inside[:, -1] += rows[:, p + width :].sum(axis=1)
    return inside
