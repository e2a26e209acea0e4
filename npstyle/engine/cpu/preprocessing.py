"""Preprocessing channel by channel; the formulas are in `npstyle.maths.preprocessing`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from npstyle.maths.array import Array


def preprocess(
    pixels: Array,
    channel_order: str,
    mean: Sequence[float],
    scale: Sequence[float],
    dtype: DTypeLike,
) -> Array:
    """z = (x - m) s, computed in float64 and stored in another precision.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
        x.
    channel_order : "RGB" or "BGR"
    mean, scale : three numbers each, in that order
        m and s.
    dtype : float dtype
        Precision of the result.

    Returns
    -------
    array (height, width, 3), in the network's channel order
        z.
    """
    ordered = pixels[..., ::-1] if channel_order == "BGR" else pixels
    fed = np.empty(pixels.shape, dtype)
    for channel in range(3):  # one after another, so that the float64 differences stay small
        fed[..., channel] = (ordered[..., channel] - mean[channel]) * scale[channel]
    return fed


def preprocess_backward(upstream: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """dL/dx = s dL/dz, in float64.

    Parameters
    ----------
    upstream : array (height, width, 3), in the network's channel order
        dL/dz.
    channel_order, scale
        As in `preprocess`.

    Returns
    -------
    float64 array (height, width, 3), RGB
        dL/dx.
    """
    scaled = np.empty(upstream.shape)
    for channel in range(3):
        np.multiply(upstream[..., channel], scale[channel], out=scaled[..., channel], dtype=float)
    return scaled[..., ::-1] if channel_order == "BGR" else scaled
