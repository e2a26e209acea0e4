r"""L-BFGS for pixels that stay where they are: on the device, in the device's own arrays.

With the steps s_k = x_(k+1) - x_k, the gradient changes y_k = g_(k+1) - g_k and
r_k = 1 / y_k^T s_k, BFGS keeps an inverse Hessian

    H_(k+1) = (I - r_k s_k y_k^T) H_k (I - r_k y_k s_k^T) + r_k s_k s_k^T

Limited to the last m pairs and to H_0 = (s^T y / y^T y) I of the newest pair, its product with the
gradient takes two loops and no matrix (Nocedal 1980):

    q = g
    newest to oldest pair:  a_i = r_i s_i^T q,   q = q - a_i y_i
    q = (s^T y / y^T y) q
    oldest to newest pair:  b = r_i y_i^T q,     q = q + (a_i - b) s_i
    d = -q

Along d the step is found by `npstyle.line_search`. SciPy's L-BFGS-B without bounds computes the
same steps in another order of operations, and is the reference; this one moves no picture between
device and host.

Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from npstyle.line_search import search

Array = Any
"""An array of NumPy or of CuPy, of one dimension."""

EPSILON = 2.2e-16
"""A pair whose y^T s is less than this share of the step's own slope is left out, as SciPy does."""


def minimize_lbfgs(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    *,
    iterations: int,
    corrections: int,
    callback: Callable[[Array], None] | None = None,
) -> bool:
    """Lower a function from x.

    Parameters
    ----------
    function : callable
        x -> (value, gradient); the arrays it is given are not changed afterwards.
    x : array (n,), float32 or float64, of NumPy or CuPy
        Where to start.
    iterations : int
        Steps to take.
    corrections : int
        m, how many pairs are kept.
    callback : callable, optional
        Given x after each step.

    Returns
    -------
    bool
        Whether all iterations were done; False if no step lowers the function any more.
    """
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=corrections)
    value, gradient = function(x)
    done = 0
    while done < iterations:
        direction = -_product(pairs, gradient)
        slope = _dot(gradient, direction)
        if slope < 0:
            first = 1.0 if pairs else min(1.0, 1.0 / _dot(direction, direction) ** 0.5)
            found = _along(function, x, direction, value, slope, first)
        else:
            found = None
        if found is None:
            if not pairs:
                return False
            pairs.clear()  # as SciPy: once more, down the gradient
            continue
        x_new, value, gradient_new = found
        s, y = x_new - x, gradient_new - gradient
        curvature = _dot(s, y)
        if curvature > EPSILON * -_dot(gradient, s):
            pairs.append((s, y, 1.0 / curvature))
        x, gradient = x_new, gradient_new
        done += 1
        if callback is not None:
            callback(x)
    return True


def _product(pairs: deque[tuple[Array, Array, float]], gradient: Array) -> Array:
    """H g by the two loops."""
    q = gradient.copy()
    factors = []
    for s, y, r in reversed(pairs):
        a = r * _dot(s, q)
        q -= a * y
        factors.append(a)
    if pairs:
        s, y, r = pairs[-1]
        q *= 1.0 / (r * _dot(y, y))
    for (s, y, r), a in zip(pairs, reversed(factors), strict=True):
        b = r * _dot(y, q)
        q += (a - b) * s
    return q


def _along(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    direction: Array,
    value: float,
    slope: float,
    first: float,
) -> tuple[Array, float, Array] | None:
    """The point, value and gradient of a good step along the direction; None if there is none."""
    steps = search(value, slope, first)
    step = next(steps)
    while True:
        point = x + step * direction
        found, gradient = function(point)
        try:
            step = steps.send((found, _dot(gradient, direction)))
        except StopIteration as end:
            return (point, found, gradient) if end.value else None


def _dot(a: Array, b: Array) -> float:
    """a^T b, as a number on the host."""
    return float(np.vdot(a, b))
