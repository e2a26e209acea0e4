"""Scale pictures to another size."""

import numpy as np
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.pixels import Pixels
from npstyle.maths.array import Array


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width, at least 1, with the longest side `size`; InputError if that is below 1."""
    if size < 1:
        raise InputError(f"size {size}: the longest side must be 1 pixel or more")
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def resize(pixels: Array, size: int | tuple[int, int]) -> Pixels:
    """Scale a picture by Lanczos' windowed sinc, in float, channel by channel.

    Parameters
    ----------
    pixels : array (height, width, channels), 0..255
    size : int or (height, width)
        The longest side of the result, or both its sides.

    Returns
    -------
    float64 array (height, width, channels), 0..255
        Clipped to the range, since Lanczos overshoots at edges.

    Raises
    ------
    InputError
        If a longest side less than 1 is asked for.
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
