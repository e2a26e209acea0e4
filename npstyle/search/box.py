"""The box 0..255 that pixels stay in, kept by reflection.

A number z that leaves the box is reflected at its walls, x = mirror(z). Then z may be any number,
and

    f(mirror(z))     has the derivative     (d mirror/dz) df/dx = +-df/dx

In a wall's reflection the loss is the same as before the wall, so nothing is lost or won by leaving
the box. At the wall itself f(mirror(z)) has a kink.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import vectors as gpu_search

Array = NDArray[Any]

PIXEL_MAX = 255.0


def mirror(z: Array) -> Array:
    """Reflect numbers at the walls 0 and 255 until they are between them.

    With r(z) = z - 510 round(z / 510), which is -255..255, this is x = |r(z)|.

    Parameters
    ----------
    z : array of any shape

    Returns
    -------
    array of the same shape
        z itself where it is 0..255; a wave of triangles beyond.
    """
    return gpu_search.mirror(z) if on_gpu(z) else np.abs(_within_a_wave(z))


def mirror_backward(gradient: Array, z: Array) -> Array:
    """Derivative of `mirror`: the gradient, turned around where z stands in a reflection.

    Parameters
    ----------
    gradient : array
        df/dx.
    z : array of the same shape

    Returns
    -------
    array of the same shape
        df/dz. At the walls of the box, the derivative from inside.
    """
    if on_gpu(z):
        return gpu_search.mirror_backward(gradient, z)
    return np.where(_within_a_wave(z) < 0, -gradient, gradient)


def _within_a_wave(z: Array) -> Array:
    return z - 2 * PIXEL_MAX * np.rint(z / (2 * PIXEL_MAX))
