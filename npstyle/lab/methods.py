"""The methods that check a derivative; `npstyle.lab.gradcheck` describes them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npstyle.lab.diagnosis import Entry, diagnose, everywhere
from npstyle.lab.precision import Precision
from npstyle.lab.probes import (
    SHORTENINGS,
    Difference,
    Line,
    difference,
    leaves_domain,
    taylor,
)
from npstyle.lab.trial import Trial, direction, real_product, wide
from npstyle.maths.array import Array

RESOLVED = 1e-2
"""Relative uncertainty above which a difference says nothing about the derivative; for a coarse
function four times its tolerance, if that is more."""

COMPLEX_STEP = 1e-30
"""h of the complex step, relative to the entries. Its square is lost in rounding."""

COMPLEX_STEP_TOLERANCE = 1e-14
"""Largest error of the complex step in float64, relative to |g| |v|; in proportion in others."""

EQUALITY_TOLERANCE = 1e-12
"""Largest relative error between two ways to compute the same numbers in float64."""


@dataclass(frozen=True)
class Outcome:
    """Result of one method for one input.

    Attributes
    ----------
    method : str
    argument : int
        Index of the input that was varied.
    passed : bool
    error : float
        Worst relative error away from kinks.
    tolerance : float
        Largest error allowed.
    checked : int
        Number of coordinates, directions, steps or results that were checked.
    kinks : int
        Number of those at a kink.
    unresolved : int
        Number of those that say nothing, because rounding hides the derivative.
    slopes : (float, float), optional
        Slopes of the two Taylor remainders; NaN where all of a remainder is rounding.
    steps, remainders : sequences
        h and the two remainders of the Taylor test, for plots.
    compared : sequence of (float, float)
        Analytic and numeric entries of a gradient that is wrong, for plots.
    note : str
        The error in words, or a remark.
    seconds : float
    """

    method: str
    argument: int
    passed: bool
    error: float
    tolerance: float
    checked: int
    kinks: int = 0
    unresolved: int = 0
    slopes: tuple[float, float] | None = None
    steps: tuple[float, ...] = ()
    remainders: tuple[tuple[float, ...], ...] = ()
    compared: tuple[tuple[float, float], ...] = ()
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where a slope was compared: its name, its index if it is an entry, and the length of v."""

    name: str
    at: tuple[int, ...] = ()
    length: float = 1.0


def coordinates(
    trial: Trial,
    argument: int,
    scale: Array,
    rounding: float,
    precision: Precision,
    step: float,
    samples: int,
    rng: np.random.Generator,
) -> Outcome:
    """Compare single entries of the gradient with central differences.

    `scale` is the size of each entry, and `step` is relative to it. `rounding` is the rounding
    error of f. A complex entry counts twice, with its real and its imaginary part.
    """
    x, gradient = trial.inputs[argument], trial.gradients[argument]
    assert gradient is not None
    units = {" (real part)": 1, " (imaginary part)": 1j} if x.dtype.kind == "c" else {"": 1}
    chosen = np.arange(x.size * len(units))
    if chosen.size > samples:
        chosen = np.sort(rng.choice(chosen.size, samples, replace=False))

    def lines() -> Iterator[tuple[Place, Line]]:
        for flat in chosen:
            at = tuple(map(int, np.unravel_index(flat // len(units), x.shape)))
            part, unit = list(units.items())[flat % len(units)]
            v = np.zeros(x.shape, type(unit * 1.0))
            v[at] = unit * scale[at]
            name = f"at ({', '.join(map(str, at))})" if at else "at the number"
            place = Place(name + part, at, float(scale[at]))
            yield place, trial.line(argument, v, rounding, precision.epsilon)

    share = max(1e-3, 16 * precision.epsilon)
    floor = share * float(np.max(np.abs(gradient * scale), initial=0.0))
    return _judge("coordinates", argument, lines(), step, precision, floor, gradient)


def directions(
    trial: Trial,
    argument: int,
    scale: Array,
    rounding: float,
    precision: Precision,
    step: float,
    count: int,
    rng: np.random.Generator,
) -> Outcome:
    """Compare <g, v> with central differences along `count` random directions v."""
    x, gradient = trial.inputs[argument], trial.gradients[argument]
    assert gradient is not None

    def lines() -> Iterator[tuple[Place, Line]]:
        for k in range(count):
            v = direction(x, scale, rng)
            line = trial.line(argument, v, rounding, precision.epsilon)
            yield Place(f"along direction {k}"), line

    floor = 1e-1 * float(np.linalg.norm(np.abs(gradient * scale)))
    return _judge("directions", argument, lines(), step, precision, floor, gradient)


def _judge(
    method: str,
    argument: int,
    lines: Iterator[tuple[Place, Line]],
    step: float,
    precision: Precision,
    floor: float,
    gradient: Array,
) -> Outcome:
    """Compare analytic and numeric slopes, relative to the larger of them or `floor`."""
    tolerance = precision.tolerance
    resolved = max(RESOLVED, 4 * tolerance) if precision.measured else RESOLVED
    worst, worst_note, kinks, outside, unresolved = 0.0, "", 0, "", 0
    clear: list[Entry] = []
    checked = 0
    for place, line in lines:
        checked += 1
        found = difference(line, step)
        size = max(abs(found.numeric), abs(line.slope), floor, np.finfo(float).tiny)
        if found.at_kink:
            kinks += 1
            # Where several kinks meet, no bound holds for their sum. Without a pattern kinks
            # are not counted: then a single entry is assumed to meet one kink at a time, and a
            # random direction several.
            one = found.crossed == 1 or (found.crossed is None and method == "coordinates")
            if one and not found.admits(line.slope, tolerance * size):
                outside = outside or (
                    f"{place.name}, at a kink: analytic {line.slope / place.length:.6g} is not "
                    f"between {found.left / place.length:.6g} from the left and "
                    f"{found.right / place.length:.6g} from the right"
                )
            continue
        analytic, numeric = line.slope / place.length, found.numeric / place.length
        hidden = 4 * found.uncertainty > resolved * size
        unresolved += bool(hidden and line.slope != found.numeric)
        error = _excess(found, line.slope, tolerance * size) / size
        if error > tolerance and line.here is None and not precision.measured:
            away = _away_by_shorter_steps(line, step, tolerance * size)
            error = error if away is None else away / size
        is_rough = hidden and precision.measured  # the uncertainty is a rough estimate, too
        wrong = error > tolerance and not is_rough
        clear.append(Entry(place.at, analytic, numeric, wrong))
        if is_rough:
            continue
        if error > worst:
            worst = float(error)
            worst_note = f"{place.name}: analytic {analytic:.6g}, numeric {numeric:.6g}"
    passed, note = worst <= tolerance and not outside, outside
    compared: tuple[tuple[float, float], ...] = ()
    if worst > tolerance:
        note = f"{worst_note}{_sort(method, gradient, clear)}"
        if method == "coordinates":
            compared = tuple((entry.analytic, entry.numeric) for entry in clear)
    elif passed and clear and unresolved > len(clear) / 2:
        # The other methods may see what rounding hides from this one.
        passed = precision.measured
        note = "rounding hides the derivative; use float64 or inputs of a better scale"
        if passed:
            note = f"rounding hides {unresolved} of {len(clear)} differences"
    elif passed and kinks and not clear:
        note = "every line was at a kink"
    counts = (checked, kinks, unresolved)
    return Outcome(
        method, argument, passed, worst, tolerance, *counts, compared=compared, note=note
    )


def _away_by_shorter_steps(line: Line, step: float, allowed: float) -> float | None:
    """Return the disagreement of the slopes by a shorter step, if one finds them to agree.

    Many kinks at unknown places, as of the ReLUs of a network, look like a curvature that the
    extrapolation does not remove. Shorter steps cross fewer of them. A wrong slope agrees with no
    step; one whose rounding exceeds what is allowed confirms nothing.
    """
    for shortening in range(1, SHORTENINGS + 1):
        found = difference(line, step * 10.0**-shortening)
        away = abs(found.numeric - line.slope)
        if not found.at_kink and 4 * found.uncertainty <= allowed and away <= allowed:
            return away
    return None


def _excess(found: Difference, slope: float, allowed: float) -> float:
    """Disagreement of the slopes; 0 if the difference cannot resolve it."""
    disagreement = abs(found.numeric - slope)
    unresolved = 4 * found.uncertainty > allowed
    return 0.0 if unresolved and disagreement <= 4 * found.uncertainty else disagreement


def _sort(method: str, gradient: Array, entries: list[Entry]) -> str:
    """Say what sort of mistake it is; of complex entries and of directions, only a factor."""
    real_entries = method == "coordinates" and gradient.dtype.kind != "c"
    said = diagnose(gradient, entries) if real_entries else everywhere(entries)
    return said and f"; {said}"


def taylor_remainders(
    trial: Trial,
    argument: int,
    scale: Array,
    rounding: float,
    precision: Precision,
    rng: np.random.Generator,
) -> Outcome:
    """Fit the slopes of the Taylor remainders along one random direction, or a second one.

    Along a direction whose second-order term is almost 0, the third-order term can spoil the slope,
    or rounding leave too few steps to fit one. A wrong derivative is wrong along every direction,
    so a second direction decides.
    """
    x = trial.inputs[argument]
    for _ in range(2):
        v = direction(x, scale, rng)
        line = trial.line(argument, v, rounding, precision.epsilon)
        if leaves_domain(line):
            # Steps in proportion to each entry stay on its side of 0.
            v = direction(x, np.abs(x), rng)
            line = trial.line(argument, v, rounding, precision.epsilon)
        found, least = taylor(line), 2 - line.slope_tolerance
        too_few = np.isnan(found.second_slope) and not (found.second_is_rounding or found.kinks)
        if not (too_few or found.second_slope < least):
            break
    off = abs(found.second_slope - 2)
    # A cubic function may have no second-order term along v, so a slope above 2 is right, too.
    right = found.second_slope >= least
    note = ""
    if np.isnan(found.second_slope):
        # The differences decide about a coarse function and at the edge of a domain, where the
        # remainders are mostly rounding.
        unclear = line.is_coarse or found.steps != line.taylor_steps
        right = found.second_is_rounding or found.kinks > 0 or unclear
        note = "the second remainder is rounding: the function is linear along this line"
        if found.kinks == len(found.steps):
            note = "every step crosses a kink"
        elif not found.second_is_rounding:
            note = "kinks and rounding leave too few steps to fit a slope"
        elif line.is_coarse:
            note = "the second remainder is rounding"
    elif not right:
        note = f"the second remainder falls with slope {found.second_slope:.3f}, not 2"
    return Outcome(
        "taylor",
        argument,
        bool(right),
        0.0 if np.isnan(off) or right else float(off),
        line.slope_tolerance,
        len(found.steps),
        found.kinks,
        slopes=(found.first_slope, found.second_slope),
        steps=found.steps,
        remainders=(found.first, found.second),
        note=note,
    )


def adjoint(trial: Trial, argument: int, tolerance: float, rng: np.random.Generator) -> Outcome:
    """Compare Re <A x, y> with Re <x, A^H y>, where A x = F(x) - F(0) and A^H y = backward(y)."""
    x = trial.draw(trial.inputs[argument], rng)
    zero, _ = trial.moved(argument, np.zeros_like(x))
    mapped = wide(trial.moved(argument, x)[0]) - zero
    y = trial.draw(zero, rng)
    inputs = (*trial.inputs[:argument], x, *trial.inputs[argument + 1 :])
    back = trial.pull_back(y, inputs)[argument]
    assert back is not None
    left, right = real_product(mapped, y), real_product(x, back)
    size = float(np.linalg.norm(np.abs(mapped)) * np.linalg.norm(np.abs(y))) or 1.0
    error = abs(left - right) / size
    note = "" if error <= tolerance else f"<A x, y> = {left:.6g}, <x, A^T y> = {right:.6g}"
    return Outcome("adjoint", argument, error <= tolerance, error, tolerance, 1, note=note)


def complex_step(
    trial: Trial,
    argument: int,
    scale: Array,
    precision: Precision,
    directions: int,
    rng: np.random.Generator,
) -> Outcome:
    """Compare <g, v> with Im f(x + i h v) / h, relative to |g| |v|."""
    x, gradient = trial.inputs[argument], trial.gradients[argument]
    assert gradient is not None
    size = float(np.linalg.norm(gradient * scale)) or 1.0
    tolerance = COMPLEX_STEP_TOLERANCE * max(1.0, precision.epsilon / float(np.finfo(float).eps))
    worst, note = 0.0, ""
    for _ in range(directions):
        v = rng.standard_normal(x.shape) * scale
        value, _ = trial.moved(argument, x + 1j * COMPLEX_STEP * v)
        numeric = float(np.sum(trial.upstream * value).imag) / COMPLEX_STEP
        slope = float(np.sum(gradient * v, dtype=np.float64))
        error = abs(numeric - slope) / (size * float(np.sqrt(max(1, x.size))))
        if error > worst:
            worst, note = error, f"analytic {slope:.6g}, complex step {numeric:.6g}"
    passed = worst <= tolerance
    return Outcome(
        "complex step",
        argument,
        passed,
        worst,
        tolerance,
        directions,
        note="" if passed else note,
    )
