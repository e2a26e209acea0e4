"""One function along one line: its slope, its kinks and its rounding.

A line is x + t v. The scalar function f is given by its change c(t) = f(x + t v) - f(x), which is
NaN outside the domain of f.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError

SHORTENINGS = 4
"""Largest number of times that a step is divided by ten to avoid a kink."""

SHORTEST = 16
"""Shortest step at a kink, in units of the precision of f; shorter ones are lost in rounding."""

INSIDE = 1e-12
"""Shortest step that is tried to stay in the domain of f."""

EDGE = 4
"""Factor of the uncertainty of a slope whose steps were shortened to stay in the domain of f."""

COARSE = 1e-11
"""Precision above which rounding decides how long the steps are."""

FACTOR, LEAST_TRIED = 4, 3
"""Ratio of the steps that are tried for a coarse function, and how many at least."""

TAYLOR_STEPS = tuple(float(h) for h in 10.0 ** -np.arange(2.0, 9.1, 0.5))
"""h of the Taylor test: seven decades, the lower of which are lost in rounding."""

SLOPE_TOLERANCE = 0.05
"""Largest distance of a fitted slope from 2."""

COARSE_SLOPE_TOLERANCE = 0.5
"""The same for a coarse function: its remainders exceed rounding only at long steps, where the
third-order term spoils the slope."""

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
    precision : float
        Relative precision of f; see `npstyle.lab.precision`.
    """

    change: Callable[[float], tuple[float, Any]]
    slope: float
    rounding: float
    here: Any = None
    precision: float = float(np.finfo(float).eps)

    @property
    def is_coarse(self) -> bool:
        """True if rounding decides how long the steps are."""
        return self.precision > COARSE

    @property
    def taylor_steps(self) -> tuple[float, ...]:
        """h of the Taylor test, ten times as long for a coarse function."""
        return tuple(10 * h for h in TAYLOR_STEPS) if self.is_coarse else TAYLOR_STEPS

    @property
    def slope_tolerance(self) -> float:
        """Largest distance of a fitted slope from 2."""
        return COARSE_SLOPE_TOLERANCE if self.is_coarse else SLOPE_TOLERANCE


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
    """Compute the slope by extrapolated central differences.

    The steps are shorter at kinks and at the edge of the domain, and longer where rounding of a
    coarse function hides the slope.

    Raises
    ------
    InputError
        If x is at the edge of the domain of f.
    """
    h, left = step, SHORTENINGS
    while left and step * 10.0**-left < SHORTEST * line.precision:
        left -= 1
    outside = at_edge = False
    while True:
        changes, crossed = _changes(line, h, all_four=left == 0)
        inside = _finite(changes)
        if outside or not inside:
            # The first step inside the domain ends near its edge, where f may be steep.
            outside, at_edge, h = not inside, True, _shorter(h)
            continue
        if crossed and left:
            h, left = h / 10, left - 1
            continue
        found = _difference(line, changes, crossed, h)
        if not (found.at_kink and left):
            break
        h, left = h / 10, left - 1
    if line.is_coarse and not found.at_kink:
        return _least_uncertain(line, found, h)
    # Near the edge the rounding of x itself is larger than where `rounding` was estimated.
    return replace(found, uncertainty=EDGE * found.uncertainty) if at_edge else found


def _least_uncertain(line: Line, found: Difference, h: float) -> Difference:
    """Return the slope of a coarse function by the step where it is least uncertain.

    Long steps may reach beyond the structure of a function, where the estimate of the error by
    twice the step means nothing. So a slope must agree with those of shorter steps.
    """
    tried, step = [found], h
    while len(tried) < LEAST_TRIED or 2 * line.rounding / h < min(map(_compared(tried), tried)):
        h /= FACTOR
        shorter = _away_from_kinks(line, h)
        if shorter is None or h < line.precision:
            break
        tried.append(shorter)
    best = min(tried, key=_compared(tried))
    if 4 * best.uncertainty > 1e-2 * abs(best.numeric):
        longer = _away_from_kinks(line, FACTOR * step)
        tried[:0] = [] if longer is None else [longer]
    best = min(tried, key=_compared(tried))
    return replace(best, uncertainty=_compared(tried)(best))


def _compared(tried: Sequence[Difference]) -> Callable[[Difference], float]:
    """Return the function that adds the disagreement with shorter steps to an uncertainty.

    `tried` are slopes by shorter and shorter steps. The next step counts in full, further ones
    beyond their own uncertainty. The shortest cannot be compared.
    """

    def uncertainty(found: Difference) -> float:
        shorter = tried[tried.index(found) + 1 :]
        if not shorter:
            return found.uncertainty if len(tried) == 1 else np.inf
        away = [abs(other.numeric - found.numeric) for other in shorter]
        beyond = [d - s.uncertainty for d, s in zip(away, shorter, strict=True)]
        return found.uncertainty + max(away[0], *beyond)

    return uncertainty


def _away_from_kinks(line: Line, h: float) -> Difference | None:
    """Return the slope by a step, or None if it crosses a kink or leaves the domain."""
    changes, crossed = _changes(line, h, all_four=False)
    if crossed or not _finite(changes):
        return None
    found = _difference(line, changes, crossed, h)
    return None if found.at_kink else found


def _finite(changes: dict[int, float]) -> bool:
    return bool(np.isfinite(list(changes.values())).all())


def _shorter(h: float) -> float:
    if h < INSIDE:
        raise InputError(
            "the function returns NaN or infinity next to its inputs, however short the step; "
            "choose inputs inside its domain"
        )
    return h / 10


def _difference(line: Line, changes: dict[int, float], crossed: int | None, h: float) -> Difference:
    near = (changes[1] - changes[-1]) / (2 * h)
    far = (changes[2] - changes[-2]) / (4 * h)
    rounding = line.rounding / h
    if crossed is None:
        at_kink = _looks_like_kink(changes, h, abs(far - near), rounding)
    else:
        at_kink = crossed > 0
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

    A value may cost a run through a network. The first step that leaves the domain is the last,
    and, unless `all_four` is set, so is the first that crosses a kink.
    """
    changes: dict[int, float] = {}
    differs: Any = False
    for t in (-2, 2, -1, 1):
        changes[t], pattern = line.change(t * h)
        if not np.isfinite(changes[t]):
            break
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
    here, steps, least = line.here, _steps_inside(line), 2 - line.slope_tolerance
    first, second, clear, sums = [], [], [], []
    for h in steps:
        change, pattern = line.change(h)
        back, pattern_back = line.change(-h)
        first.append(abs(change))
        second.append(abs(change - h * line.slope))
        sums.append(abs(change + back))
        # At a kink, x has the pattern of one side, and only the other side differs.
        sides = () if here is None else (pattern, pattern_back)
        clear.append(all(bool(np.all(side == here)) for side in sides))
    floor = 100 * line.rounding
    # At a kink, |c(h) + c(-h)| falls with slope 1, not 2.
    if here is None and _fit(steps, sums, clear, floor) < 1.5:
        clear = [False] * len(clear)
    first_slope = _fit(steps, first, clear, floor)
    second_slope = _fit(steps, second, clear, floor)
    # Long steps may cross kinks that no pattern shows, or reach where the third-order term is as
    # large as the second-order one. With a wrong slope, r2 is proportional to h even for the
    # shortest steps.
    for skipped in range(1, len(steps) - LEAST_POINTS):
        if not second_slope < least:
            break
        short = [use and k >= skipped for k, use in enumerate(clear)]
        slope = _fit(steps, second, short, floor)
        if slope >= least or (np.isnan(slope) and here is None):
            second_slope, clear = slope, short
    second_is_rounding = not any(
        r > 10 * floor for r, use in zip(second, clear, strict=True) if use
    )
    return Taylor(
        steps,
        tuple(first),
        tuple(second),
        first_slope,
        second_slope,
        second_is_rounding,
        clear.count(False),
    )


def leaves_domain(line: Line, h: float | None = None) -> bool:
    """Return whether f is NaN or infinite at a step to either side, by default the longest."""
    h = line.taylor_steps[0] if h is None else h
    return not np.isfinite([line.change(h)[0], line.change(-h)[0]]).all()


def _steps_inside(line: Line) -> tuple[float, ...]:
    """Return the steps of the Taylor test, shorter ones if they leave the domain of f."""
    steps = line.taylor_steps
    longest = steps[0]
    while leaves_domain(line, longest):
        longest = _shorter(longest)
    # Remainders are of second order only far from the edge of the domain.
    return steps if longest == steps[0] else tuple(longest / 10 * h / steps[0] for h in steps)


def _fit(steps: tuple[float, ...], remainders: list[float], use: list[bool], floor: float) -> float:
    """Least-squares slope of log r over log h; NaN if too few points exceed the floor."""
    chosen = [(h, r) for h, r, ok in zip(steps, remainders, use, strict=True) if ok and r > floor]
    if len(chosen) < LEAST_POINTS:
        return float("nan")
    h, r = np.log10(np.array(chosen)).T
    slope: NDArray[np.float64] = np.polyfit(h, r, 1)
    return float(slope[0])
