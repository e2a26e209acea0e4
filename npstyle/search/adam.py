"""Adam, for pixels that are clipped to the box 0..255.

The step is that of `npstyle.maths.adam`. After it, x is clipped to the box. Adam moves pixels, not
frequencies: it scales every number by itself, so the preconditioner has little to add, and on three
pairs of pictures the loss fell more slowly with it.

Adam holds fewer images in memory than L-BFGS, and it needs far more steps for the same loss.
"""

from collections.abc import Callable

import numpy as np

from npstyle.maths.adam import adam_direction
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX

ADAM_STEP = 5.0
"""Default step: about how far a pixel moves in one iteration, on the scale 0..255."""


def minimize_adam(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    *,
    iterations: int,
    step: float = ADAM_STEP,
    callback: Callable[[Array], None] | None = None,
) -> None:
    """Lower a function within the box by Adam.

    Parameters
    ----------
    function : callable
        Returns (value, gradient) at x. It may keep the arrays it gets: they are not changed later.
    x : float64 array, numbers 0..255
        Starting point, on the CPU or a GPU.
    iterations : int
        Number of steps. The function is evaluated once more, at the starting point.
    step : float
        On the scale 0..255.
    callback : callable, optional
        Called with x after each step.
    """
    mean = np.zeros_like(x)
    square = np.zeros_like(x)
    _, gradient = function(x)
    for t in range(1, iterations + 1):
        mean, square, direction = adam_direction(gradient, mean, square, t)
        x = np.clip(x - step * direction, 0, PIXEL_MAX)
        _, gradient = function(x)
        if callback is not None:
            callback(x)
