"""Resize pictures."""

import numpy as np
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.pixels import Pixels
from npstyle.maths.array import Array


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Scale height and width to the longest side `size`, each to at least 1 pixel.

    Raises
    ------
    InputError
        If `size` is less than 1.
    """
    if size < 1:
        raise InputError(f"size {size}: the longest side must be 1 pixel or more")
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def resize(pixels: Array, size: int | tuple[int, int]) -> Pixels:
    """Resize a picture with a Lanczos filter, in float32, each channel separately.

    Parameters
    ----------
    pixels : array (height, width, channels), 0..255
    size : int or (height, width)
        The longest side of the result in pixels, or both sides.

    Returns
    -------
    float64 array (height, width, channels), 0..255
        Clipped to the range, because the Lanczos filter overshoots at edges.

    Raises
    ------
    InputError
        If the longest side is less than 1.
    """
    if isinstance(size, int):
        size = fit_size(pixels.shape[0], pixels.shape[1], size)
    if pixels.shape[:2] == size:
        return np.clip(np.asarray(pixels, np.float64), 0, 255)
    scaled = np.empty((*size, pixels.shape[2]))
    for c in range(pixels.shape[2]):
        channel = Image.fromarray(np.ascontiguousarray(pixels[..., c], np.float32))
        resized = channel.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        np.clip(np.asarray(resized), 0, 255, out=scaled[..., c])
    return scaled
