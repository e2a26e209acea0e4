"""Replicate padding; the formulas are in `npstyle.maths.padding`."""

from npstyle.maths.array import Array
from npstyle.maths.padding import replicate_pad

__all__ = ["replicate_pad", "replicate_pad_backward"]


def replicate_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `replicate_pad`, by sums of whole rows and columns.

    Parameters
    ----------
    upstream : array (height + 2p, width + 2p, channels)
        dL/dY.
    padding : int
        p.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    p = padding
    height, width = upstream.shape[0] - 2 * p, upstream.shape[1] - 2 * p
    rows = upstream[p : p + height].copy()
    rows[0] += upstream[:p].sum(axis=0)
    rows[-1] += upstream[p + height :].sum(axis=0)
    inside = rows[:, p : p + width].copy()
    inside[:, 0] += rows[:, :p].sum(axis=1)
    inside[:, -1] += rows[:, p + width :].sum(axis=1)
    return inside
