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
"""Pixels of a picture that are read at once, and resized at once; fewer are resized as a whole."""

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
    whole = (0, 0, pixels.shape[1], pixels.shape[0])
    for c in range(pixels.shape[2]):
        np.clip(_lanczos(pixels[..., c], size, whole), 0, 255, out=scaled[..., c])
    return scaled


def strip_rows(rows: int, columns: int) -> int:
    """Return how many rows of a picture are read at once."""
    return min(rows, max(1, STRIP_PIXELS // columns))


def narrowed_rows(rows: int, height: int, width: int) -> int:
    """Return how many rows of a picture `resize_rows` holds in the width of the result."""
    scale = rows / height
    return min(rows, math.ceil(_made_rows(scale, height, width) * scale) + 2 * _reach(scale) + 1)


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
    height, width, channels = out.shape
    scale = extent[0] / height
    made = _made_rows(scale, height, width)
    for first in range(0, height, made):
        last = min(first + made, height)
        top = max(0, math.floor(first * scale) - _reach(scale))
        bottom = min(rows, math.ceil(last * scale) + _reach(scale))
        narrow = _narrowed(read, top, bottom, extent[1], (channels, width))
        box = (0, first * scale - top, width, min(last * scale, extent[0]) - top)
        for c in range(channels):
            resized = _lanczos(narrow[c], (last - first, width), box)
            np.clip(resized, 0, 255, out=out[first:last, :, c])


def _narrowed(
    read: Callable[[int, int], Array],
    top: int,
    bottom: int,
    extent: float,
    shape: tuple[int, int],
) -> Array:
    """Resize the rows from `top` up to `bottom` to a width; float32 (channels, rows, width).

    The filter is separable, and Pillow too applies it along the rows first.
    """
    channels, width = shape
    narrow = np.empty((channels, bottom - top, width), np.float32)
    step = strip_rows(bottom - top, math.ceil(extent))
    for row in range(top, bottom, step):
        strip = read(row, min(row + step, bottom))
        size, box = (len(strip), width), (0, 0, extent, len(strip))
        for c in range(channels):
            narrow[c, row - top : row - top + step] = _lanczos(strip[..., c], size, box)
    return narrow


def _lanczos(
    channel: Array, size: tuple[int, int], box: tuple[float, float, float, float]
) -> Array:
    """Resize the part of a channel in a box (left, top, right, bottom) to (height, width)."""
    image = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS, box))


def _made_rows(scale: float, height: int, width: int) -> int:
    """Return how many rows of the result are made at once."""
    return min(height, max(LEAST_STRIP, int(STRIP_PIXELS / width / scale)))


def _reach(scale: float) -> int:
    """Return the rows of a picture above and below a strip that the filter reaches."""
    return math.ceil(LANCZOS * max(1.0, scale)) + 1
