"""The type of every array in npstyle."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
"""A NumPy array of any dtype. Each docstring gives the shape, such as (height, width, channels)."""
