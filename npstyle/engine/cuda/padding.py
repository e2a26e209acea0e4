"""Padding on a GPU: `npstyle.maths.padding`, with the kernels of `pad.cu`."""

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
    return _pad("replicate", image, padding)


def replicate_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `replicate_pad`: dL/dX (height, width, channels) from dL/dY."""
    return _pad_backward("replicate_backward", upstream, padding)


def reflect_pad(image: Array, padding: int) -> Array:
    """Mirror an image at its edges; parameters and result as in `replicate_pad`.

    Raises
    ------
    ValueError
        If the image has p rows or columns, or fewer.
    """
    if padding >= min(image.shape[:2]):
        raise ValueError(
            f"an image of {image.shape[0]}x{image.shape[1]} is too small to be mirrored by "
            f"{padding} rows and columns; use a larger image"
        )
    return _pad("reflect", image, padding)


def reflect_pad_backward(upstream: Array, padding: int) -> Array:
    """Derivative of `reflect_pad`: dL/dX (height, width, channels) from dL/dY."""
    return _pad_backward("reflect_backward", upstream, padding)


def zero_pad(image: Array, padding: int, after: int | None = None) -> Array:
    """Surround an image with zeros: p rows and columns before it, and `after` (default p) after."""
    height, width, channels = image.shape
    both = 2 * padding if after is None else padding + after
    out = empty((height + both, width + both, channels), image.dtype)
    out[...] = 0
    out[padding : padding + height, padding : padding + width] = image
    return out


def zero_pad_backward(upstream: Array, padding: int, after: int | None = None) -> Array:
    """Derivative of `zero_pad`: dL/dX, of the shape of X, from dL/dY, of the shape of Y."""
    both = 2 * padding if after is None else padding + after
    height, width = upstream.shape[0] - both, upstream.shape[1] - both
    # Kernels take whole arrays, so the part is copied.
    return upstream[padding : padding + height, padding : padding + width].copy()


def _pad(stem: str, image: Array, padding: int) -> Array:
    height, width, channels = image.shape
    out = empty((height + 2 * padding, width + 2 * padding, channels), image.dtype)
    shape = shapes.rows(f"{stem}_{out.dtype.name}", out.shape[0], out.shape[1] * channels)
    launch("pad", shape, image, out, *image.shape, padding)
    return out


def _pad_backward(stem: str, upstream: Array, padding: int) -> Array:
    height, width = (n - 2 * padding for n in upstream.shape[:2])
    out = empty((height, width, upstream.shape[2]), upstream.dtype)
    shape = shapes.rows(f"{stem}_{out.dtype.name}", height, width * out.shape[2])
    launch("pad", shape, upstream, out, *out.shape, padding)
    return out
