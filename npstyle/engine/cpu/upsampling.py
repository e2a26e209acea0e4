"""Upsampling and global pooling; the formulas are in `npstyle.maths`.

Networks that paint run an upsampling with the convolution behind it; see `npstyle.engine.subpixel`.
"""

from npstyle.engine.arena import empty
from npstyle.maths.array import Array
from npstyle.maths.pooling import global_avg_pool, global_avg_pool_backward
from npstyle.maths.upsampling import upsample

__all__ = ["global_avg_pool", "global_avg_pool_backward", "upsample", "upsample_backward"]


def upsample_backward(upstream: Array, factor: int) -> Array:
    """Derivative of `upsample`: dL/dX from dL/dY, by sums of whole slices.

    Parameters
    ----------
    upstream : array (f height, f width, channels)
        dL/dY.
    factor : int
        f.

    Returns
    -------
    array (height, width, channels)
        dL/dX.
    """
    height, width, channels = upstream.shape
    gradient = empty((height // factor, width // factor, channels), upstream.dtype)
    gradient[:] = upstream[::factor, ::factor]
    for place in range(1, factor * factor):
        gradient += upstream[place // factor :: factor, place % factor :: factor]
    return gradient
