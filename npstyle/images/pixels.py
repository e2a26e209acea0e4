"""The type of a picture in memory."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]
"""A picture: float64 array (height, width, 3), RGB, 0..255, in the sRGB colour space."""
