r"""Adam, for pixels that are clipped to the box 0..255.

With the gradient g of step t = 1, 2, ..., and m = v = 0 before the first step:

    m = beta_1 m + (1 - beta_1) g          v = beta_2 v + (1 - beta_2) g^2
    x = x - step (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)

m and v are running means of g and g^2. They start at 0, so they are too small at first; the
divisions by 1 - beta^t correct this. After each step, x is clipped to the box.

Adam holds fewer images in memory than L-BFGS, and it needs far more steps for the same loss.

Source: Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1.
"""

from collections.abc import Callable

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX

ADAM_STEP = 5.0
"""Default step: about how far a pixel moves in one iteration, on the scale 0..255."""

BETA_1 = 0.9
"""Share of m that is kept from one step to the next; the paper's value."""

BETA_2 = 0.999
"""Share of v that is kept from one step to the next; the paper's value."""

EPSILON = 1e-8
"""Added to the square root of v, so that no division is by 0; the paper's value."""


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


def adam_direction(
    gradient: Array, mean: Array, square: Array, t: int
) -> tuple[Array, Array, Array]:
    """Return the new m and v of a step, and the direction; x becomes x - step direction.

    Parameters
    ----------
    gradient, mean, square : arrays of the same shape
        g, and m and v of the previous step; zeros before the first.
    t : int
        Number of the step, from 1.
    """
    mean = BETA_1 * mean + (1 - BETA_1) * gradient
    square = BETA_2 * square + (1 - BETA_2) * gradient**2
    unbiased_mean = mean / (1 - BETA_1**t)
    unbiased_square = square / (1 - BETA_2**t)
    return mean, square, unbiased_mean / (np.sqrt(unbiased_square) + EPSILON)
