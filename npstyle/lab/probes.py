"""One function along one line: its slope, its kinks and its rounding.

A line is x + t v. The scalar function f is given by its change c(t) = f(x + t v) - f(x).

Central differences
    D(h) = (c(h) - c(-h)) / 2h is the slope up to O(h^2), and (4 D(h) - D(2h)) / 3 up to O(h^4).
    |D(2h) - D(h)| / 3 estimates the error of D(h). A rounding error e of c adds about e/h.
Kinks
    If `change` also returns a pattern (the side of every kink that x + t v is on), kinks are
    detected exactly. Otherwise they are detected by the jump J(h) = |c(h) + c(-h)| / h between the
    right and the left slope. Where f is smooth, J(h) = h |f''|, so J(2h) = 2 J(h). At a kink J(h)
    is the same for every h.
Taylor remainders
    Slopes are fitted to r1 = |c(h)| and r2 = |c(h) - h slope| on log-log axes, where the remainders
    exceed rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTENINGS = 4
"""Number of times that a step is divided by ten to avoid a kink."""

TAYLOR_STEPS = tuple(float(h) for h in 10.0 ** -np.arange(2.0, 9.1, 0.5))
"""h of the Taylor test: seven decades, the lower of which are lost in rounding."""

SLOPE_TOLERANCE = 0.05
"""Largest distance of a fitted slope from 2."""

LEAST_POINTS = 4
"""Least number of remainders above rounding for the fit of a slope."""


@dataclass(frozen=True)
class Line:
    """f along x + t v.

    Attributes
    ----------
    change : callable
        t -> (c(t), pattern or None).
    slope : float
        <g, v>, the slope by the analytic derivative.
    rounding : float
        Rounding error of a value of c.
    here : any
        The pattern at x, or None.
    """

    change: Callable[[float], tuple[float, Any]]
    slope: float
    rounding: float
    here: Any = None


@dataclass(frozen=True)
class Difference:
    """The slope of a line by central differences.

    Attributes
    ----------
    numeric : float
        The slope.
    uncertainty : float
        Estimated error of the slope, by truncation and rounding.
    at_kink : bool
        True if no step was short enough to stay on one side of every kink.
    crossed : int or None
        Number of kinks crossed; None if unknown.
    left, right : float
        One-sided slopes.
    slack : float
        Estimated error of the one-sided slopes.
    """

    numeric: float
    uncertainty: float
    at_kink: bool
    crossed: int | None
    left: float
    right: float
    slack: float

    def admits(self, slope: float, tolerance: float) -> bool:
        """Return whether a slope lies between the one-sided ones."""
        slack = self.slack + tolerance
        low, high = min(self.left, self.right), max(self.left, self.right)
        return low - slack <= slope <= high + slack


def difference(line: Line, step: float) -> Difference:
    """Compute the slope by extrapolated central differences, with shorter steps at kinks."""
    for shortening in range(SHORTENINGS + 1):
        h, shortest = step * 10.0**-shortening, shortening == SHORTENINGS
        changes, crossed = _changes(line, h, all_four=shortest)
        if crossed and not shortest:
            continue
        near = (changes[1] - changes[-1]) / (2 * h)
        far = (changes[2] - changes[-2]) / (4 * h)
        rounding = line.rounding / h
        if crossed is None:
            at_kink = _looks_like_kink(changes, h, abs(far - near), rounding)
        else:
            at_kink = crossed > 0
        if not at_kink:
            break
    left, right = -changes[-1] / h, changes[1] / h
    far_left, far_right = -changes[-2] / (2 * h), changes[2] / (2 * h)
    return Difference(
        numeric=(4 * near - far) / 3,
        uncertainty=abs(far - near) / 3 + 2 * rounding,
        at_kink=at_kink,
        crossed=crossed,
        left=left,
        right=right,
        slack=abs(left - far_left) + abs(right - far_right) + 4 * rounding,
    )


def _changes(line: Line, h: float, all_four: bool) -> tuple[dict[int, float], int | None]:
    """Compute c(-2h), c(2h), c(-h), c(h), and the number of kinks they cross, if known.

    A value may cost a run through a network. Unless `all_four` is set, the first step that crosses
    a kink is the last.
    """
    changes: dict[int, float] = {}
    differs: Any = False
    for t in (-2, 2, -1, 1):
        changes[t], pattern = line.change(t * h)
        differs = differs | (pattern != line.here)
        if np.any(differs) and not all_four:
            break
    return changes, None if line.here is None else int(np.count_nonzero(differs))


def _looks_like_kink(
    changes: dict[int, float], h: float, disagreement: float, rounding: float
) -> bool:
    jump = abs(changes[1] + changes[-1]) / h
    far_jump = abs(changes[2] + changes[-2]) / (2 * h)
    size = max(abs(changes[1]), abs(changes[-1])) / h
    noise = 20 * rounding + 1e-7 * size
    stays = jump > noise and far_jump < 1.5 * jump
    return stays or disagreement > noise + 1e-3 * size


@dataclass(frozen=True)
class Taylor:
    """Remainders along a line and the slopes fitted to them; NaN if too few exceed rounding.

    `kinks` counts the steps that cross a kink. They are left out of the fit.
    """

    steps: tuple[float, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]
    first_slope: float
    second_slope: float
    second_is_rounding: bool
    kinks: int


def taylor(line: Line) -> Taylor:
    """Fit the slopes of the Taylor remainders r1 and r2 to the steps that cross no kink."""
    here = line.here
    first, second, clear = [], [], []
    for h in TAYLOR_STEPS:
        change, pattern = line.change(h)
        first.append(abs(change))
        second.append(abs(change - h * line.slope))
        if here is None:
            clear.append(True)
        else:  # at a kink, x has the pattern of one side, and only the other side differs
            stays = bool(np.all(pattern == here))
            clear.append(stays and bool(np.all(line.change(-h)[1] == here)))
    floor = 100 * line.rounding
    if here is None and _stays_kinked(line):
        clear = [False] * len(clear)
    first_slope = _fit(TAYLOR_STEPS, first, clear, floor)
    second_slope = _fit(TAYLOR_STEPS, second, clear, floor)
    # Long steps may cross kinks that no pattern shows, or reach where the third-order term is as
    # large as the second-order one. With a wrong slope, r2 is proportional to h even for the
    # shortest steps.
    for skipped in range(1, len(TAYLOR_STEPS) - LEAST_POINTS):
        if not second_slope < 2 - SLOPE_TOLERANCE:
            break
        short = [use and k >= skipped for k, use in enumerate(clear)]
        slope = _fit(TAYLOR_STEPS, second, short, floor)
        if slope >= 2 - SLOPE_TOLERANCE or (np.isnan(slope) and here is None):
            second_slope, clear = slope, short
    second_is_rounding = not any(
        r > 10 * floor for r, use in zip(second, clear, strict=True) if use
    )
    return Taylor(
        TAYLOR_STEPS,
        tuple(first),
        tuple(second),
        first_slope,
        second_slope,
        second_is_rounding,
        clear.count(False),
    )


def _stays_kinked(line: Line) -> bool:
    """Return whether x itself looks like a kink: |c(h) + c(-h)| falls with slope 1, not 2."""
    sums = [abs(line.change(h)[0] + line.change(-h)[0]) for h in TAYLOR_STEPS]
    slope = _fit(TAYLOR_STEPS, sums, [True] * len(sums), 100 * line.rounding)
    return slope < 1.5


def _fit(steps: tuple[float, ...], remainders: list[float], use: list[bool], floor: float) -> float:
    """Least-squares slope of log r over log h; NaN if too few points exceed the floor."""
    chosen = [(h, r) for h, r, ok in zip(steps, remainders, use, strict=True) if ok and r > floor]
    if len(chosen) < LEAST_POINTS:
        return float("nan")
    h, r = np.log10(np.array(chosen)).T
    slope: NDArray[np.float64] = np.polyfit(h, r, 1)
    return float(slope[0])
