"""Sums over the positions of an image, one for each channel, with the kernels of `channels.cu`."""

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.maths.array import Array


def channel_sums(image: Array, factor: float = 1.0) -> Array:
    """Sum the values of each channel, times a factor.

    Parameters
    ----------
    image : float32 or float64 array (height, width, channels)
    factor : float

    Returns
    -------
    float64 array (channels,)
    """
    return _sums("channel_sums", image, (image,), factor)


def channel_squares(image: Array, mean: Array, factor: float = 1.0) -> Array:
    """Sum the squared deviations from the mean, a float64 array (channels,); as `channel_sums`."""
    return _sums("channel_squares", image, (image, mean), factor)


def channel_products(
    upstream: Array, image: Array, mean: Array | None = None, factor: float = 1.0
) -> Array:
    """Sum the products of two arrays of one shape; as `channel_sums`.

    The mean, a float64 array (channels,), is subtracted from `image` first if it is given.
    """
    return _sums("channel_products", image, (upstream, image, mean), factor)


def _sums(stem: str, image: Array, arrays: tuple[Array | None, ...], factor: float) -> Array:
    """Add up in blocks of the image's positions, and add the sums of the blocks."""
    positions, channels = image.shape[0] * image.shape[1], image.shape[2]
    shape = shapes.channel_sums(f"{stem}_{image.dtype.name}", positions, channels)
    blocks = shape.grid[0]
    partial, totals = empty((channels, blocks), np.float64), empty((channels,), np.float64)
    launch("channels", shape, *arrays, partial, positions, channels)
    launch("channels", shapes.channel_totals(channels), partial, totals, blocks, np.float64(factor))
    return totals
