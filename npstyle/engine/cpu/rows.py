"""Images as matrices of one row per row of pixels, for factors that differ from channel to channel.

NumPy multiplies (height, width, channels) by (channels,) in loops of as many steps as there are
channels. If the factors are repeated for a whole row, the loops are as long as a row: 2 times
faster for 32 channels, 8 times for 3.
"""

import numpy as np

from npstyle.maths.array import Array


def as_rows(image: Array) -> Array:
    """View an image (height, width, channels) as (height, width x channels).

    The pixels of each row must be neighbours in memory, as those of an image or of a window in it.
    """
    rows = image.reshape(len(image), -1)
    if not np.may_share_memory(rows, image):
        raise ValueError(f"the pixels of a row are not neighbours: strides {image.strides}")
    return rows


def for_a_row(values: Array, image: Array) -> Array:
    """Repeat one value for each channel for a whole row of an image, in the image's precision."""
    return np.tile(values.astype(image.dtype), image.shape[1])
