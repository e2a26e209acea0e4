"""Reflect and zero padding; the formulas are in `npstyle.maths.padding`."""

import numpy as np

from npstyle.engine.arena import empty
from npstyle.maths.array import Array
from npstyle.maths.padding import zero_pad, zero_pad_backward

__all__ = ["mirrored", "reflect_pad", "reflect_pad_backward", "zero_pad", "zero_pad_backward"]


def reflect_pad(image: Array, padding: int) -> Array:
    """Mirror an image at its edges, by copies of whole rows and columns.

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

    Raises
    ------
    ValueError
        If the image has p rows or columns, or fewer.
    """
    height, width, channels = image.shape
    p = padding
    rows, columns = mirrored(height, p), mirrored(width, p)
    padded = empty((height + 2 * p, width + 2 * p, channels), image.dtype)
    padded[p : p + height, p : p + width] = image
    for place in (*range(p), *range(p + width, 2 * p + width)):
        padded[p : p + height, place] = image[:, columns[place]]
    for place in (*range(p), *range(p + height, 2 * p + height)):
        padded[place] = padded[p + rows[place]]
    return padded


def reflect_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `reflect_pad`: dL/dX from dL/dY, by sums of whole rows and columns."""
    p = padding
    height, width = upstream.shape[0] - 2 * p, upstream.shape[1] - 2 * p
    rows, columns = mirrored(height, p), mirrored(width, p)
    across = upstream[p : p + height].copy()
    for place in (*range(p), *range(p + height, 2 * p + height)):
        across[rows[place]] += upstream[place]
    inside = across[:, p : p + width].copy()
    for place in (*range(p), *range(p + width, 2 * p + width)):
        inside[:, columns[place]] += across[:, place]
    return inside


def mirrored(length: int, padding: int) -> list[int]:
    """Return mirror(u) for u = -p, ..., length - 1 + p: the pixel that each place copies."""
    if padding >= length:
        raise ValueError(
            f"{length} rows or columns are too few to be mirrored by {padding}; use a larger image"
        )
    u = np.abs(np.arange(-padding, length + padding))
    places: list[int] = np.minimum(u, 2 * (length - 1) - u).tolist()
    return places
