r"""L-BFGS for images on a GPU, and for a history in little memory or on disk.

With the steps s_k = x_(k+1) - x_k, the gradient changes y_k = g_(k+1) - g_k and
r_k = 1 / y_k^T s_k, BFGS updates an approximation of the inverse Hessian:

    H_(k+1) = (I - r_k s_k y_k^T) H_k (I - r_k y_k s_k^T) + r_k s_k s_k^T

L-BFGS keeps a history of the last m corrections (s_k, y_k) only, and replaces the older ones by
H_0 = (s^T y / y^T y) I of the newest. Then two loops give the product of H with the gradient, and
no matrix is formed (Nocedal 1980):

    q = g
    from the newest to the oldest:  a_i = r_i s_i^T q,   q = q - a_i y_i
    q = (s^T y / y^T y) q
    from the oldest to the newest:  b = r_i y_i^T q,     q = q + (a_i - b) s_i
    d = -q

Every q is a linear combination of the s_i, the y_i and g, which are the rows of a matrix B. So the
loops can work on the coefficients c of q = c B, and on the inner products of the rows of B, instead
of on images (Chen, Wang and Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014). After each step
one pass over B gives the products B g with the new gradient. The products with the new y follow
from it, since B y = B g - B g_before; s^T y and y^T y are computed by themselves, so that they stay
exact if y is much smaller than g. The loops need no product of s with an older y, nor with another
s. So a step takes one pass over B for the products and another for d = c B. The plain loops take
four, and would ask a GPU for 4 m inner products one after another, and wait for each.

`npstyle.search.line_search` finds the step along d. SciPy's L-BFGS-B without bounds computes the
same steps in another order of operations, and is the reference for this module. SciPy works on
NumPy arrays: on a GPU every image and every gradient would have to be copied to it or from it.

Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4.
"""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npstyle.engine import cpu
from npstyle.maths.array import Array
from npstyle.search.coordinates import Function
from npstyle.search.line_search import propose_steps

CORRECTIONS = 16
"""Default m: the number of steps s and gradient changes y in the history. In float32 they take
less memory than ten in float64, SciPy's default; `tools/README.md` has what they save."""

EPSILON = 2.2e-16
"""Smallest y^T s of a correction, as a fraction of -s^T g at the start of the step. A correction
with less curvature is left out of the history, as in SciPy."""


def basis_shape(corrections: int, values: int) -> tuple[int, int]:
    """Shape of B for a history of m corrections of images of so many values.

    The rows are m + 1 steps, m + 1 gradient changes and the gradient. One more than m is needed
    because a new correction is written before it is known whether it replaces the oldest one.
    """
    return 2 * corrections + 3, values


def minimize_lbfgs(
    function: Function,
    x: Array,
    *,
    iterations: int,
    corrections: int = CORRECTIONS,
    callback: Callable[[Array], None] | None = None,
    basis: Array | None = None,
    engine: ModuleType = cpu,
) -> bool:
    """Lower a function by L-BFGS.

    Parameters
    ----------
    function : callable
        Returns (value, gradient) at x. It may keep the arrays it gets: they are not changed later.
    x : float32 or float64 array (n,), of the engine
        Starting point.
    iterations : int
        Number of steps. A step takes one evaluation, and sometimes more.
    corrections : int
        m, the length of the history.
    callback : callable, optional
        Called with x after each step.
    basis : array of zeros, shape `basis_shape(corrections, n)`, optional
        B, which holds the history and the gradient. An array like x if not given. On the CPU it may
        be float32, whose rounding hardly changes the search, and a memory map.
    engine : module
        `npstyle.engine.cpu` or `npstyle.engine.cuda`, wherever x is.

    Returns
    -------
    bool
        Whether all iterations were done; False if no step lowers the function any more.
    """
    if basis is None:
        basis = np.zeros_like(x, shape=basis_shape(corrections, x.size))
    value, basis[-1] = function(x)
    history = _History(basis, engine)
    done = 0
    while done < iterations:
        step = _step(function, x, value, history, first=done == 0)
        if step is None:
            if not history.slots:
                return False
            history.slots.clear()  # as SciPy does: try once more, along the negative gradient
            continue
        history.append(x, step)
        decreased = step.value < value
        x, value = step.x, step.value
        done += 1
        if callback is not None:
            callback(x)
        if not decreased:  # any further decrease is lost in rounding; SciPy stops here too
            break
    return done == iterations


class _Step(NamedTuple):
    """A step that fulfils the Wolfe conditions: x = x_before + length d, and f and g there."""

    length: float
    slope: float  # d^T g before the step
    x: Array
    value: float
    gradient: Array


class _History:
    """The matrix B, and the inner products of its rows.

    Its last row must be the gradient at the starting point; the others must be zeros.

    Attributes
    ----------
    slots : list of int
        Slot k holds s in row k of B and y in row m + 1 + k. Listed are the slots of the corrections
        in use, from the oldest to the newest.
    products : float64 array (rows of B, rows of B)
        The inner products that the two loops need: those of each y with g, with all y, and with
        the same and all older s; those of g with all rows. The gradient is the last row.
    """

    def __init__(self, basis: Array, engine: ModuleType) -> None:
        self.basis = basis
        self.engine = engine
        self.places = len(basis) // 2  # m + 1
        self.slots: list[int] = []
        self.products: NDArray[np.float64] = np.zeros((len(basis), len(basis)))
        self.products[-1, -1] = _product(basis[-1], basis[-1])

    def append(self, x: Array, step: _Step) -> None:
        """Add the correction of a step that started at x, and drop the oldest if there are m."""
        s = next(k for k in range(self.places) if k not in self.slots)
        y = self.places + s
        np.subtract(step.x, x, out=self.basis[s])
        np.subtract(step.gradient, self.basis[-1], out=self.basis[y])
        self.basis[-1] = step.gradient
        self._update_products(s, y)
        if self.products[s, y] > EPSILON * -step.length * step.slope:
            self.slots = [*self.slots, s][1 - self.places :]

    def _update_products(self, s: int, y: int) -> None:
        """Compute the inner products with the rows of a new correction, and with the new g."""
        products, basis = self.products, self.basis
        with_g = self.engine.inner_products(basis, basis[-1])
        products[s] = products[:, s] = 0.0
        products[y] = products[:, y] = with_g - products[-1]  # B y = B g - B g_before
        products[-1] = products[:, -1] = with_g
        products[s, y] = products[y, s] = _product(basis[s], basis[y])
        products[y, y] = _product(basis[y], basis[y])

    def coefficients(self) -> NDArray[np.float64]:
        """Return c, the coefficients of the direction d = -H g = c B, by the two loops."""
        products = self.products
        q = np.zeros(len(products))
        q[-1] = 1
        factors = []
        for s in reversed(self.slots):
            y = self.places + s
            a = float(products[s] @ q) / products[s, y]
            q[y] -= a
            factors.append(a)
        if self.slots:
            s, y = self.slots[-1], self.places + self.slots[-1]
            q *= products[s, y] / products[y, y]
        for s, a in zip(self.slots, reversed(factors), strict=True):
            y = self.places + s
            q[s] += a - float(products[y] @ q) / products[s, y]
        return -q


def _product(a: Array, b: Array) -> float:
    """Return a^T b."""
    return float(np.vdot(a, b))


def _step(
    function: Function, x: Array, value: float, history: _History, first: bool
) -> _Step | None:
    """Search along d from x; None if d does not point downhill or the line search fails."""
    c = history.coefficients()
    slope = float(history.products[-1] @ c)
    if not slope < 0:
        return None
    direction = history.engine.combination(c, history.basis)
    # The first trial of all moves x by the distance 1, as SciPy's does.
    trial = 1.0 / float(history.products[-1, -1]) ** 0.5 if first else 1.0
    steps = propose_steps(value, slope, trial)
    length = next(steps)
    while True:
        point = x + length * direction
        found, gradient = function(point)
        try:
            length = steps.send((found, _product(gradient, direction)))
        except StopIteration as end:
            return _Step(length, slope, point, found, gradient) if end.value else None
