"""Arrays on the CPU: the twins of `npstyle.engine.cuda.arrays`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npstyle.maths.array import Array

ON_GPU = False
"""Whether the engine's arrays lie in a GPU's memory."""


def place(array: Any, dtype: DTypeLike | None = None) -> Array:
    """Return the array where this engine computes: on the CPU it is used as it is."""
    return np.asarray(array, dtype)


def to_host(array: Array) -> Array:
    """Return the array in the host's memory, where it is already."""
    return array


def numbers(values: Iterable[Any]) -> list[float]:
    """Convert scalars to Python floats."""
    return [float(value) for value in values]


def zeros_like(array: Array) -> Array:
    """Return zeros of an array's shape and dtype."""
    return np.zeros_like(array)
