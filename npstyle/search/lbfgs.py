r"""L-BFGS for pixels that stay where they are: on a device, or in little memory, or on disk.

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

Every q is a sum of s_i, y_i and g, each times a number. So the loops need not touch a picture: they
work on those numbers, c, and on the inner products of the s_i, y_i and g, the rows of B. After each
step the products with its s, y and g are new: one pass over B, and one more for d = c B. (Chen,
Wang and Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014.) A device would have to be asked for
4 m inner products one after another otherwise, and waited for each time.

Along d the step is found by `npstyle.search.line_search`. SciPy's L-BFGS-B without bounds computes
the same steps in another order of operations, and is the reference; this one moves no picture
between device and host.

Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import vectors as gpu_search
from npstyle.engine.disk import let_go
from npstyle.engine.strips import strips
from npstyle.search.line_search import search

Array = Any
"""An array of NumPy or of CuPy, of one dimension."""

Numbers = NDArray[np.float64]

AT_ONCE = 1 << 15
"""Columns of B that are multiplied at a time: float32, or on disk, they need little memory so."""

EPSILON = 2.2e-16
"""A pair whose y^T s is less than this share of the step's own slope is left out, as SciPy does."""


def minimize_lbfgs(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    *,
    iterations: int,
    corrections: int,
    callback: Callable[[Array], None] | None = None,
    basis: Array | None = None,
) -> bool:
    """Lower a function from x.

    Parameters
    ----------
    function : callable
        x -> (value, gradient); the arrays it is given are not changed afterwards.
    x : float64 array (n,), of NumPy or CuPy
        Where to start.
    iterations : int
        Steps to take.
    corrections : int
        m, how many pairs are kept.
    callback : callable, optional
        Given x after each step.
    basis : array of zeros (2 corrections + 3, n), optional
        Where the pairs and the gradient are kept, B: of x's own kind if not given. It may be
        float32, whose rounding a search does not notice, and a memory map.

    Returns
    -------
    bool
        Whether all iterations were done; False if no step lowers the function any more.
    """
    places = corrections + 1  # one is free, for the pair to come
    if basis is None:
        basis = np.zeros_like(x, shape=(2 * places + 1, x.size))  # s_0, ..., y_0, ..., g
    products = np.zeros((2 * places + 1, 2 * places + 1))
    kept: list[int] = []  # the places of the pairs, from the oldest to the newest
    value, basis[-1] = function(x)
    _multiply(basis, products, 0)
    done = 0
    while done < iterations:
        c = _two_loops(products, kept)
        slope = float(products[-1] @ c)
        found = None
        if slope < 0:
            direction = _combined(c, basis)
            # The very first step has the length 1; SciPy's has, too.
            first = 1.0 if done else 1.0 / float(products[-1, -1]) ** 0.5
            found = _along(function, x, direction, value, slope, first)
        if found is None:
            if not kept:
                return False
            kept.clear()  # as SciPy: once more, down the gradient
            continue
        before = value
        step, x_new, value, gradient = found
        place = next(k for k in range(places) if k not in kept)
        np.subtract(x_new, x, out=basis[place])
        np.subtract(gradient, basis[-1], out=basis[places + place])
        basis[-1] = gradient
        _multiply(basis, products, place)
        if products[place, places + place] > EPSILON * -step * slope:
            kept = [*kept, place][-corrections:]
        x = x_new
        done += 1
        if callback is not None:
            callback(x)
        if value >= before:  # rounding hides what is left to win; SciPy stops here, too
            break
    return done == iterations


def _multiply(basis: Array, products: Numbers, place: int) -> None:
    """Bring the inner products with the s and y of one place, and with g, up to date."""
    rows = (place, len(basis) // 2 + place, len(basis) - 1)
    found = gpu_search.inner_products(basis, rows) if on_gpu(basis) else _inner(basis, rows)
    products[:, rows] = found
    products[rows, :] = found.T


def _two_loops(products: Numbers, kept: Sequence[int]) -> Numbers:
    """The numbers c that make d = -H g of the rows of B."""
    places = len(products) // 2
    q = np.zeros(len(products))
    q[-1] = 1
    factors = []
    for s in reversed(kept):
        y = places + s
        a = float(products[s] @ q) / products[s, y]
        q[y] -= a
        factors.append(a)
    if kept:
        s, y = kept[-1], places + kept[-1]
        q *= products[s, y] / products[y, y]
    for s, a in zip(kept, reversed(factors), strict=True):
        y = places + s
        q[s] += a - float(products[y] @ q) / products[s, y]
    return -q


def _combined(c: Numbers, basis: Array) -> Array:
    """The row of numbers c B."""
    if on_gpu(basis):
        return gpu_search.combination(c, basis)
    out = np.empty(basis.shape[1])
    for first, end in strips(basis.shape[1], AT_ONCE):
        np.matmul(c, basis[:, first:end].astype(np.float64, copy=False), out=out[first:end])
        let_go(basis)
    return out


def _inner(basis: Array, rows: Sequence[int]) -> Numbers:
    """The inner products of all rows with some, (rows of B, some), summed in float64."""
    sums = np.zeros((len(basis), len(rows)))
    for first, end in strips(basis.shape[1], AT_ONCE):
        part = basis[:, first:end].astype(np.float64, copy=False)
        sums += part @ part[list(rows)].T
        let_go(basis)
    return sums


def _along(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    direction: Array,
    value: float,
    slope: float,
    first: float,
) -> tuple[float, Array, float, Array] | None:
    """Step, point, value and gradient of a good step along the direction; None if there is none."""
    steps = search(value, slope, first)
    step = next(steps)
    while True:
        point = x + step * direction
        found, gradient = function(point)
        try:
            step = steps.send((found, float(np.vdot(gradient, direction))))
        except StopIteration as end:
            return (step, point, found, gradient) if end.value else None
