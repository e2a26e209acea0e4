"""Numbers in bfloat16: the upper half of a float32, which widens to it exactly."""

import numpy as np

from npstyle.maths.array import Array


def widened(halves: Array) -> Array:
    """Return the float32 numbers of which a uint16 array contains the upper halves."""
    wide: Array = (halves.astype(np.uint32) << 16).view(np.float32)
    return wide
