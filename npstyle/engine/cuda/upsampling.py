"""Upsampling and global pooling on a GPU; the formulas are in `npstyle.maths`."""

from npstyle.engine.cuda.arrays import empty
from npstyle.engine.cuda.channels import channel_sums
from npstyle.maths.array import Array


def upsample(image: Array, factor: int) -> Array:
    """Enlarge an image: each pixel becomes a block of f x f equal pixels.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    factor : int
        f.

    Returns
    -------
    array (f height, f width, channels)
        Y.
    """
    height, width, channels = image.shape
    out = empty((factor * height, factor * width, channels), image.dtype)
    blocks = out.reshape(height, factor, width, factor, channels)
    blocks[...] = image[:, None, :, None]
    return out


def upsample_backward(upstream: Array, factor: int) -> Array:
    """Derivative of `upsample`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    height, width, channels = upstream.shape
    out = empty((height // factor, width // factor, channels), upstream.dtype)
    out[...] = upstream[::factor, ::factor]
    for place in range(1, factor * factor):
        out += upstream[place // factor :: factor, place % factor :: factor]
    return out


def global_avg_pool(image: Array) -> Array:
    """Average each channel over all positions: Y, an array (1, 1, channels)."""
    mean = channel_sums(image, 1 / (image.shape[0] * image.shape[1]))
    return mean.astype(image.dtype).reshape(1, 1, -1)


def global_avg_pool_backward(upstream: Array, image_shape: tuple[int, ...]) -> Array:
    """Derivative of `global_avg_pool`: dL/dX, of shape (height, width, channels), from dL/dY."""
    out = empty(image_shape, upstream.dtype)
    out[...] = upstream * upstream.dtype.type(1 / (image_shape[0] * image_shape[1]))
    return out
