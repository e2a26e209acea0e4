"""Replicate padding on a GPU: `npstyle.maths.padding`, with the kernels of `pad.cu`."""

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.maths.array import Array


def replicate_pad(image: Array, padding: int) -> Array:
    """Continue the pixels at the edge of an image by `padding` rows and columns on each side.

    Parameters
    ----------
    image : float32 or float64 array (height, width, channels)
    padding : int
        p.

    Returns
    -------
    array (height + 2p, width + 2p, channels)
    """
    height, width, channels = image.shape
    out = empty((height + 2 * padding, width + 2 * padding, channels), image.dtype)
    shape = shapes.rows(f"replicate_{out.dtype.name}", out.shape[0], out.shape[1] * channels)
    launch("pad", shape, image, out, *image.shape, padding)
    return out


def replicate_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `replicate_pad`: dL/dX (height, width, channels) from dL/dY."""
    height, width = (n - 2 * padding for n in upstream.shape[:2])
    out = empty((height, width, upstream.shape[2]), upstream.dtype)
    shape = shapes.rows(f"replicate_backward_{out.dtype.name}", height, width * out.shape[2])
    launch("pad", shape, upstream, out, *out.shape, padding)
    return out
