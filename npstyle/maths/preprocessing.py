"""Preprocessing: from pixels to the input of a network.

Each network expects the order of the colour channels, the mean m and the scale s that it was
trained with. With the channels of the pixels x in that order,

    z = (x - m) s
    dL/dx = s dL/dz

where the loss L is a number that is computed from z. The channels of dL/dx are brought back to RGB.
For VGG-19 as published for Caffe the order is BGR, m = (103.939, 116.779, 123.68) and s = 1. Here m
and s are float64, so the result is float64 or wider.
"""

from collections.abc import Sequence

import numpy as np

from npstyle.maths.array import Array


def preprocess(
    pixels: Array, channel_order: str, mean: Sequence[float], scale: Sequence[float]
) -> Array:
    """Order, shift and scale the colour channels.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
        x.
    channel_order : "RGB" or "BGR"
        The network's.
    mean, scale : three numbers each, in the network's order
        m and s.

    Returns
    -------
    array (height, width, 3), in the network's channel order
        z.
    """
    ordered = pixels[..., ::-1] if channel_order == "BGR" else pixels
    return (ordered - np.asarray(mean)) * np.asarray(scale)


def preprocess_backward(upstream: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """Derivative of `preprocess` with respect to the pixels.

    Parameters
    ----------
    upstream : array (height, width, 3), in the network's channel order
        dL/dz.
    channel_order, scale
        As in `preprocess`.

    Returns
    -------
    array (height, width, 3), RGB
        dL/dx.
    """
    scaled = upstream * np.asarray(scale)
    return scaled[..., ::-1] if channel_order == "BGR" else scaled
