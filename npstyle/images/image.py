"""The network's input from pixels: moves to `npstyle.maths.preprocessing` and `npstyle.engine.cpu`.

The network's input is an affine function of the pixels x: with the channels in the network's
order, and its mean m and scale s,

    z = (x - m) s          dL/dx = s dL/dz

(the derivative's channels brought back to RGB order).
"""

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
    """What the network is fed, z = (x - m) s.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
    channel_order : "RGB" or "BGR"
        Of the network.
    mean, scale : three numbers, in the network's order
    dtype : float dtype of the result

    Returns
    -------
    array (height, width, 3), in the network's channel order
    """
    ordered = pixels[..., ::-1] if channel_order == "BGR" else pixels
    fed = np.empty(pixels.shape, dtype)
    for channel in range(3):  # one after another: the differences are float64
        fed[..., channel] = (ordered[..., channel] - mean[channel]) * scale[channel]
    return fed


def preprocess_backward(gradient: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """Derivative of `preprocess` with respect to the pixels, dL/dx = s dL/dz.

    Parameters
    ----------
    gradient : array (height, width, 3), in the network's channel order
        dL/dz.
    channel_order, scale
        As in `preprocess`.

    Returns
    -------
    array (height, width, 3), RGB
    """
    scaled = np.empty(gradient.shape)
    for channel in range(3):
        np.multiply(gradient[..., channel], scale[channel], out=scaled[..., channel], dtype=float)
    return scaled[..., ::-1] if channel_order == "BGR" else scaled
