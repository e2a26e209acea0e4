"""Preprocessing on a GPU: `npstyle.maths.preprocessing`, with the kernels of `preprocess.cu`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.maths.array import Array


def preprocess(
    pixels: Array, channel_order: str, mean: Sequence[float], scale: Sequence[float], dtype: Any
) -> Array:
    """Return the input of the network, z = (x - m) s.

    Parameters
    ----------
    pixels : float64 array (height, width, 3), RGB, 0..255
    channel_order : "RGB" or "BGR"
        The network's.
    mean, scale : three numbers each, in the network's order
    dtype : float32 or float64
        The network's; the arithmetic is float64.

    Returns
    -------
    array (height, width, 3), in the network's channel order
    """
    out = empty(pixels.shape, dtype)
    count = pixels.shape[0] * pixels.shape[1]
    shape = shapes.elementwise(f"preprocess_{out.dtype.name}", count)
    bgr, constants = int(channel_order == "BGR"), map(np.float64, (*mean, *scale))
    launch("preprocess", shape, pixels, out, np.int64(count), bgr, *constants)
    return out


def preprocess_backward(upstream: Array, channel_order: str, scale: Sequence[float]) -> Array:
    """Derivative of `preprocess`: dL/dx = s dL/dz, a float64 array (height, width, 3), RGB."""
    out = empty(upstream.shape, np.float64)
    count = upstream.shape[0] * upstream.shape[1]
    shape = shapes.elementwise(f"preprocess_backward_{upstream.dtype.name}", count)
    bgr, constants = int(channel_order == "BGR"), map(np.float64, scale)
    launch("preprocess", shape, upstream, out, np.int64(count), bgr, *constants)
    return out
