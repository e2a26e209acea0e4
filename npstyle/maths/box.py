"""The box: pixels stay in 0..255 by reflection.

L-BFGS moves numbers z without bounds, but a pixel must lie in 0..255. A number that leaves the box
is reflected at its walls:

    r = z - 510 round(z / 510)      (from -255 to 255)
    x = mirror(z) = |r|             (z itself inside the box, a triangle wave beyond)

The search minimises f(mirror(z)), whose derivative is

    df/dz = dx/dz df/dx = sign(r) df/dx

Beyond a wall the loss is the mirror image of the loss inside, so a search gains and loses nothing
by leaving the box. At the walls f(mirror(z)) has kinks; there the derivative from inside is taken.
"""

import numpy as np

from npstyle.maths.array import Array

PIXEL_MAX = 255.0
"""Upper wall of the box; the lower wall is 0."""


def mirror(z: Array) -> Array:
    """Reflect numbers, an array of any shape, at the walls of the box: x, 0..255."""
    return np.abs(_reflected(z))


def mirror_backward(upstream: Array, z: Array) -> Array:
    """Derivative of `mirror`: df/dz from df/dx and z, arrays of the same shape."""
    return np.where(_reflected(z) < 0, -upstream, upstream)


def _reflected(z: Array) -> Array:
    """r in the formula above; x is its absolute value."""
    return z - 2 * PIXEL_MAX * np.rint(z / (2 * PIXEL_MAX))
