r"""Line search for a step that fulfils the strong Wolfe conditions.

With phi(t) = f(x + t d) and phi'(0) < 0, a step t is accepted if

    phi(t) <= phi(0) + DECREASE t phi'(0)          (sufficient decrease)
    |phi'(t)| <= CURVATURE |phi'(0)|               (the slope is flat enough)

Moré and Thuente's algorithm keeps an interval that contains such a step. One end, `best`, has the
lowest value so far; the other is `other`. The next step is computed from values and slopes: it is
the minimiser of a cubic through both ends, of a parabola, or the zero of the line through two
slopes. SciPy's L-BFGS-B uses the same algorithm with the same constants, so both take equal steps.

Source: Moré and Thuente, "Line search algorithms with guaranteed sufficient decrease" (ACM TOMS 20,
1994), sections 2 to 4.
"""

from collections.abc import Generator
from dataclasses import dataclass
from math import copysign, inf, isfinite, nan, sqrt

DECREASE = 1e-3
"""Fraction of the decrease t phi'(0) that a step must achieve. A smaller one accepts more steps."""

CURVATURE = 0.9
"""Fraction of the first slope that may remain. A smaller one demands a more exact minimum."""

NARROW = 0.1
"""Width of the interval, relative to its upper end, at which the search gives up."""

EXTRAPOLATE = 4.0
"""While no minimum is bracketed: longest extrapolation, in units of the last move."""

BEYOND = 1.1
"""While no minimum is bracketed: shortest extrapolation, in units of the last move."""

SHRINK = 0.66
"""The interval is bisected if two steps did not reduce its width to this fraction."""

MOST_STEPS = 20
"""Evaluations after which the search gives up."""


@dataclass(frozen=True)
class Trial:
    """A step t that was tried, with phi(t) and phi'(t)."""

    step: float
    value: float
    slope: float


def propose_steps(
    value: float, slope: float, first: float
) -> Generator[float, tuple[float, float], bool]:
    """Propose steps until one fulfils both conditions.

    Parameters
    ----------
    value, slope : float
        phi(0) and phi'(0) < 0.
    first : float
        First step to try.

    Yields
    ------
    float
        The next step t to try; the caller sends (phi(t), phi'(t)).

    Returns
    -------
    bool
        Whether the last step tried fulfils both conditions.
    """
    target = DECREASE * slope
    best = other = Trial(0.0, value, slope)
    bracketed, first_stage = False, True
    width, width_before = inf, inf
    low, high = 0.0, first + EXTRAPOLATE * first
    step = first
    for _ in range(MOST_STEPS):
        trial = Trial(step, *(yield step))
        if not isfinite(trial.value):  # overflow; neither the paper nor SciPy has this case
            low, high = sorted((best.step, step))
            step = 0.5 * (low + high)
            continue
        enough = value + step * target
        if trial.value <= enough and abs(trial.slope) <= CURVATURE * -slope:
            return True
        if bracketed and (step <= low or step >= high or high - low <= NARROW * high):
            return False
        if first_stage and trial.value <= enough and trial.slope >= 0:
            first_stage = False
        if first_stage and enough < trial.value <= best.value:
            # Work on phi(t) - DECREASE t phi'(0): at most phi(0) where the decrease suffices.
            a, b, c = (_tilt(end, target) for end in (best, other, trial))
            step, bracketed = _next_step(a, b, c, bracketed, low, high)
            best, other = (_tilt(end, -target) for end in _narrow(a, b, c))
        else:
            step, bracketed = _next_step(best, other, trial, bracketed, low, high)
            best, other = _narrow(best, other, trial)
        if bracketed:
            if abs(other.step - best.step) >= SHRINK * width_before:
                step = best.step + 0.5 * (other.step - best.step)
            width_before, width = width, abs(other.step - best.step)
            low, high = sorted((best.step, other.step))
        else:
            low = step + BEYOND * (step - best.step)
            high = step + EXTRAPOLATE * (step - best.step)
        step = max(step, 0.0)
        if bracketed and (step <= low or step >= high or high - low <= NARROW * high):
            step = best.step
    return False


def _tilt(end: Trial, slope: float) -> Trial:
    """Return the same step as a trial of phi(t) - slope t."""
    return Trial(end.step, end.value - end.step * slope, end.slope - slope)


def _narrow(best: Trial, other: Trial, trial: Trial) -> tuple[Trial, Trial]:
    """Return the new ends of the interval: the lowest value first, a minimum between them."""
    if trial.value > best.value:
        return best, trial
    if trial.slope * best.slope < 0:
        return trial, best
    return trial, other


def _next_step(
    best: Trial, other: Trial, trial: Trial, bracketed: bool, low: float, high: float
) -> tuple[float, bool]:
    """Return the next step (the four cases of section 4), and whether a minimum is bracketed."""
    span = trial.step - best.step
    if trial.value > best.value:
        # 1. Higher: the minimum lies between. The cubic's, or the mean if the parabola's is nearer.
        cubic = _cubic_minimum(best, trial)
        drop = (best.value - trial.value) / span + best.slope
        parabola = best.step + best.slope / drop / 2 * span
        if abs(cubic - best.step) < abs(parabola - best.step):
            return cubic, True
        return cubic + (parabola - cubic) / 2, True
    if trial.slope * best.slope < 0:
        # 2. Lower, with a slope of the other sign: cubic or secant, the farther from the trial.
        cubic, secant = _cubic_minimum(best, trial), _secant(best, trial)
        return max(cubic, secant, key=lambda step: abs(step - trial.step)), True
    if abs(trial.slope) < abs(best.slope):
        # 3. Lower and flatter: the minimum lies beyond the trial, if the cubic has one there.
        secant = _secant(best, trial)
        cubic = _cubic_minimum(best, trial)
        if not (cubic - trial.step) * span > 0:  # also if the cubic is NaN
            cubic = high if span > 0 else low
        nearer, farther = sorted((cubic, secant), key=lambda step: abs(step - trial.step))
        if not bracketed:
            return min(max(farther, low), high), False
        limit = trial.step + SHRINK * (other.step - trial.step)
        return (min if span > 0 else max)(nearer, limit), True
    # 4. Lower and as steep: continue towards the other end.
    if bracketed:
        return _cubic_minimum(trial, other), True
    return (high if span > 0 else low), False


def _cubic_minimum(a: Trial, b: Trial) -> float:
    """Minimiser of the cubic through two values and slopes; NaN if it has no minimum."""
    span = b.step - a.step
    theta = a.slope + b.slope - 3 * (b.value - a.value) / span
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    under = (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    if under < 0:
        return nan
    root = copysign(scale * sqrt(under), span)
    below = b.slope - a.slope + 2 * root
    return b.step - span * (b.slope + root - theta) / below if below else nan


def _secant(a: Trial, b: Trial) -> float:
    """Zero of the line through two slopes."""
    return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step)
