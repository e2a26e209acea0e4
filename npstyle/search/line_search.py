r"""The search along a direction for a point that fulfils the strong Wolfe conditions.

With phi(t) = f(x + t d), phi'(0) < 0, a step t is good enough if

    phi(t) <= phi(0) + DECREASE t phi'(0)          (it goes down far enough)
    |phi'(t)| <= CURVATURE |phi'(0)|               (the slope has flattened)

Moré and Thuente's algorithm keeps an interval [a, b] that holds such a step, a with the lowest
value so far, and proposes the next step from values and slopes: the minimiser of a cubic through
both ends, of a parabola, or of the line through two slopes. It is what SciPy's L-BFGS-B uses, with
the same constants, so that both searches go the same way.

Source: Moré and Thuente, "Line search algorithms with guaranteed sufficient decrease" (ACM TOMS 20,
1994), sections 2 to 4.
"""

from collections.abc import Generator
from dataclasses import dataclass
from math import copysign, inf, isfinite, nan, sqrt

DECREASE = 1e-3
CURVATURE = 0.9
NARROW = 0.1
"""Relative width of the interval at which the search ends."""

EXTRAPOLATE = 4.0
"""How much further a step may reach while nothing holds the interval's other end."""

BEYOND = 1.1
"""How much further it must reach at the least."""

SHRINK = 0.66
"""If the interval did not shrink so far in two steps, it is halved."""

MOST_STEPS = 20


@dataclass(frozen=True)
class End:
    """A step t that has been tried: phi(t) and phi'(t)."""

    step: float
    value: float
    slope: float


def search(value: float, slope: float, first: float) -> Generator[float, tuple[float, float], bool]:
    """Propose steps until one fulfils the conditions.

    Parameters
    ----------
    value, slope : float
        phi(0) and phi'(0) < 0.
    first : float
        The step to begin with.

    Yields
    ------
    float
        A step t to try; send (phi(t), phi'(t)) back.

    Returns
    -------
    bool
        Whether the last step that was tried fulfils the conditions.
    """
    target = DECREASE * slope
    best = other = End(0.0, value, slope)
    bracketed, first_stage = False, True
    width, width_before = inf, inf
    low, high = 0.0, first + EXTRAPOLATE * first
    step = first
    for _ in range(MOST_STEPS):
        trial = End(step, *(yield step))
        if not isfinite(trial.value):  # more than floats hold: not in the paper, nor in SciPy
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
            # Steer by phi(t) - DECREASE t phi'(0), which is below 0 where the decrease is enough.
            a, b, c = (_tilt(end, target) for end in (best, other, trial))
            step, bracketed = _propose(a, b, c, bracketed, low, high)
            best, other = (_tilt(end, -target) for end in _narrow(a, b, c))
        else:
            step, bracketed = _propose(best, other, trial, bracketed, low, high)
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


def _tilt(end: End, slope: float) -> End:
    """The same point of phi(t) - slope t."""
    return End(end.step, end.value - end.step * slope, end.slope - slope)


def _narrow(best: End, other: End, trial: End) -> tuple[End, End]:
    """The interval's ends after a trial: the lowest value is kept, and a minimum between them."""
    if trial.value > best.value:
        return best, trial
    if trial.slope * best.slope < 0:
        return trial, best
    return trial, other


def _propose(
    best: End, other: End, trial: End, bracketed: bool, low: float, high: float
) -> tuple[float, bool]:
    """The next step (section 4's four cases), and whether the ends now hold a minimum."""
    span = trial.step - best.step
    if trial.value > best.value:
        # 1. Higher: there is a minimum between. The cubic, unless the parabola is nearer.
        cubic = _cubic_minimum(best, trial)
        drop = (best.value - trial.value) / span + best.slope
        parabola = best.step + best.slope / drop / 2 * span
        if abs(cubic - best.step) < abs(parabola - best.step):
            return cubic, True
        return cubic + (parabola - cubic) / 2, True
    if trial.slope * best.slope < 0:
        # 2. Lower, and the slope has turned: of cubic and secant the farther from the trial.
        cubic, secant = _cubic_minimum(best, trial), _secant(best, trial)
        return max(cubic, secant, key=lambda step: abs(step - trial.step)), True
    if abs(trial.slope) < abs(best.slope):
        # 3. Lower, and flatter: the minimum lies beyond the trial, if the cubic has one there.
        secant = _secant(best, trial)
        cubic = _cubic_minimum(best, trial)
        if not (cubic - trial.step) * span > 0:  # also where the cubic has no minimum
            cubic = high if span > 0 else low
        nearer, farther = sorted((cubic, secant), key=lambda step: abs(step - trial.step))
        if not bracketed:
            return min(max(farther, low), high), False
        limit = trial.step + SHRINK * (other.step - trial.step)
        return (min if span > 0 else max)(nearer, limit), True
    # 4. Lower, and as steep: on to the other end.
    if bracketed:
        return _cubic_minimum(trial, other), True
    return (high if span > 0 else low), False


def _cubic_minimum(a: End, b: End) -> float:
    """Where the cubic through two values and slopes is lowest; NaN if it is nowhere."""
    span = b.step - a.step
    theta = a.slope + b.slope - 3 * (b.value - a.value) / span
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    under = (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    if under < 0:
        return nan
    root = copysign(scale * sqrt(under), span)
    below = b.slope - a.slope + 2 * root
    return b.step - span * (b.slope + root - theta) / below if below else nan


def _secant(a: End, b: End) -> float:
    """Where the line through two slopes is 0."""
    return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step)
