"""Resize pictures."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.pixels import Pixels
from npstyle.maths.array import Array

LANCZOS = 3
"""Reach of the filter on either side, in pixels of the smaller picture."""

STRIP_PIXELS = 1 << 22
"""Pixels of a picture that are resized at once; one of fewer is resized as a whole."""

LEAST_STRIP = 12
"""Least rows of the smaller picture that are made at once: twice as many as the filter reaches."""


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


def strip_rows(rows: int, columns: int, result: int) -> tuple[int, int]:
    """Return how many rows `resize_rows` makes at once, and how many rows of the file it needs."""
    scale = rows / result
    made = min(result, max(LEAST_STRIP, int(STRIP_PIXELS / columns / scale)))
    return made, min(rows, math.ceil(made * scale) + 2 * _reach(scale) + 1)


def resize_rows(
    read: Callable[[int, int], Array], extent: tuple[float, float], rows: int, out: Pixels
) -> None:
    """Resize a picture as `resize`, from strips that are read as they are needed.

    Parameters
    ----------
    read : callable
        Returns the rows from one number up to another, (rows, width, channels), 0..255.
    extent : (height, width)
        Of the picture; less than `rows` if the last row counts in part.
    rows : int
        That can be read.
    out : array (height, width, channels)
        The result.
    """
    height, width = out.shape[:2]
    scale = extent[0] / height
    made, _ = strip_rows(rows, math.ceil(extent[1]), height)
    for first in range(0, height, made):
        last = min(first + made, height)
        top = max(0, math.floor(first * scale) - _reach(scale))
        bottom = min(rows, math.ceil(last * scale) + _reach(scale))
        strip = read(top, bottom)
        box = (0, first * scale - top, extent[1], min(last * scale, extent[0]) - top)
        for c in range(out.shape[2]):
            channel = Image.fromarray(np.ascontiguousarray(strip[..., c], np.float32))
            resized = channel.resize((width, last - first), Image.Resampling.LANCZOS, box)
            np.clip(np.asarray(resized), 0, 255, out=out[first:last, :, c])


def _reach(scale: float) -> int:
    """Return the rows of a picture above and below a strip that the filter reaches."""
    return math.ceil(LANCZOS * max(1.0, scale)) + 1
