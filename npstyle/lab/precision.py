"""The precision of a function: how finely its values move.

A function of float64 inputs may compute in float32 inside, or sum in threads, in another order at
every call. Then its values are f + e with a noise e, and central differences with steps that suit
float64 show the noise, not the slope.

Steps or noise?
    A continuous f changes less and less over shorter and shorter intervals. So the interval where
    f changes is halved, always towards the half with the larger change, down to a few units in the
    last place of the inputs. If a change remains, f moves in jumps: its granularity.
How large is the noise?
    Over equally spaced points, farther apart than the granularity, the third differences of a
    smooth f are of the order spacing^3, and those of the noise are sqrt(20) sigma, sqrt((2k)!)/k!
    for k-th differences. The median of their sizes ignores single kinks. Moré and Wild, "Estimating
    computational noise", SIAM J. Sci. Comput. 33 (2011).
Which precision is that?
    Rounding to a relative precision epsilon is an error of about epsilon/4. So a noise of sigma
    gives the changes of f the precision 4 sigma / |g x|, for inputs of the size x.
    A function that gives the same at x and at x rounded to a precision has at most that one.
    With Richardson's extrapolation the error of a slope is O(h^4) + O(epsilon/h). h = epsilon^(1/4)
    leaves a margin for rounding over the optimum epsilon^(1/5).
"""

from dataclasses import dataclass

import numpy as np

from npstyle.lab.probes import Line
from npstyle.lab.trial import Trial, direction, scale_of

KNOWN = {name: float(np.finfo(name).eps) for name in ("float16", "float32")}
"""Precisions that a function may compute in, coarser than float64."""

TOLERANCES = {"float16": 5e-2, "float32": 5e-3, "float64": 1e-6}
"""Largest relative error of a difference, by precision."""

ADJOINT_TOLERANCES = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-13}
"""Largest relative error of the adjoint test, by precision."""

COARSER = 16
"""Factor by which a function's noise must exceed the precision of its inputs to be noticed, and up
to which it is named after the precision below it."""

FINER = 32
"""Factor by which the noise may stay below that of a precision that is named."""

COARSEST = 0.03
"""Precision above which no step resolves a derivative."""

LARGE = 0.1
"""Entries below this share of the typical size stay: near 0 every precision is fine."""

NEAR, FARTHER = (1, 2, 3, 4), {1e-6: 0.01, 1e-3: 0.2}
"""Steps over which the changes of f are compared: multiples of the shortest, and longer ones with
the share by which their slopes may differ. The shortest, 1e-9 in float64, rarely meet a kink."""

INTERVALS, HALVINGS = (0.01, 0.1, 1.0), 43
"""Intervals where jumps are searched, until f changes, and how often they are halved."""

DECAY, DECAY_HALVINGS = 0.1, 12
"""A continuous f changes by a smaller share of its change 12 halvings ago."""


@dataclass(frozen=True)
class Precision:
    """How precisely a derivative with respect to one input can be checked.

    Attributes
    ----------
    epsilon : float
        Relative precision of the changes of f.
    name : str
        "float64", "float32", "float16", or "" for another one.
    tolerance, adjoint_tolerance : float
        Largest relative errors of differences and of the adjoint test.
    measured : bool
        True if the function is less precise than its inputs.
    noise : float
        Measured standard deviation of the noise of f; 0 where it is rounding.
    """

    epsilon: float
    name: str
    tolerance: float
    adjoint_tolerance: float
    measured: bool = False
    noise: float = 0.0

    @property
    def words(self) -> str:
        """The precision in words."""
        return f"{self.name}'s precision" if self.name else f"a noise of {self.epsilon:.0e}"

    @property
    def hides_everything(self) -> bool:
        """True if no step resolves the derivative."""
        return self.measured and self.epsilon > COARSEST


def precisions_of(trial: Trial, rng: np.random.Generator) -> tuple[Precision, ...]:
    """Return the precision for each input: that of the inputs, or a measured one."""
    given = max((np.finfo(x.dtype) for x in trial.inputs), key=lambda info: float(info.eps))
    epsilon, name = float(given.eps), str(given.dtype)
    found = [
        (0.0, 0.0) if g is None or not np.isfinite(g).all() else _noise(trial, k, epsilon, rng)
        for k, g in enumerate(trial.gradients)
    ]
    found = [
        (max(relative, _rounded_to(trial, k, rng)), sigma) if relative else (0.0, 0.0)
        for k, (relative, sigma) in enumerate(found)
    ]
    coarse = [relative for relative, _ in found if relative > COARSER * epsilon]
    if not coarse:
        name = name if name in TOLERANCES else "float64"
        fine = Precision(epsilon, name, TOLERANCES[name], ADJOINT_TOLERANCES[name])
        return (fine,) * len(found)
    # An input that is rounded spoils the derivatives with respect to the others, too.
    return tuple(_measured(max(own, min(coarse)), sigma, epsilon) for own, sigma in found)


def _measured(relative: float, noise: float, epsilon: float) -> Precision:
    for name, known in KNOWN.items():
        if known / FINER <= relative <= COARSER * known and known > epsilon:
            return Precision(known, name, TOLERANCES[name], ADJOINT_TOLERANCES[name], True, noise)
    tolerance, adjoint = (_between(relative, t) for t in (TOLERANCES, ADJOINT_TOLERANCES))
    return Precision(relative, "", tolerance, adjoint, True, noise)


def _between(epsilon: float, tolerances: dict[str, float]) -> float:
    """Interpolate tolerances between the precisions, on log-log axes."""
    known = sorted((float(np.finfo(name).eps), value) for name, value in tolerances.items())
    return float(np.exp(np.interp(np.log(epsilon), *np.log(known).T)))


def _noise(
    trial: Trial, argument: int, epsilon: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the relative precision and the noise along an input; zeros if f is continuous."""
    x, gradient = trial.inputs[argument], trial.gradients[argument]
    assert gradient is not None
    scale = scale_of(x)
    large = np.abs(x) >= LARGE * np.min(scale, initial=np.inf)
    line = trial.line(argument, direction(x, scale * large if large.any() else scale, rng), 0.0)
    rounding = 100 * epsilon * trial.size
    if _is_fine(line, epsilon**0.575, rounding):
        return 0.0, 0.0
    jump = _granularity(line)
    size = max(float(np.linalg.norm(np.abs(gradient * scale))), abs(line.change(0.1)[0]) / 0.1)
    if not size or not jump > max(rounding, COARSER * epsilon * size / np.sqrt(scale.size)):
        return 0.0, 0.0
    relative = jump / size
    while True:
        spacing = min(4 * relative, 0.05)
        sigma = _sigma(line, spacing)
        found = 4 * sigma / size
        # Over a spacing shorter than the steps of f, most differences are 0.
        if spacing == 0.05 or (sigma >= 0.1 * jump and 2 * found <= spacing):
            return found, sigma
        relative = max(4 * relative, found)


def _rounded_to(trial: Trial, argument: int, rng: np.random.Generator) -> float:
    """Return the precision that the function rounds an input to; 0 if it is none of `KNOWN`.

    The steps of f have many lengths then, and the median in `_sigma` may see the short ones only.
    """
    x = trial.inputs[argument]
    points = [x + direction(x, LARGE * scale_of(x), rng) for _ in range(2)]
    values = [trial.moved(argument, point)[0] for point in points]
    for name, epsilon in KNOWN.items():
        dtype = np.result_type(name, np.complex64) if x.dtype.kind == "c" else np.dtype(name)
        with np.errstate(over="ignore"):
            rounded = [point.astype(dtype).astype(x.dtype) for point in points]
        if all(
            np.array_equal(trial.moved(argument, point)[0], value)
            for point, value in zip(rounded, values, strict=True)
        ):
            return epsilon if np.finfo(dtype).eps == epsilon else 0.0
    return 0.0


def _is_fine(line: Line, near: float, rounding: float) -> bool:
    """Return whether f is linear over short steps, but for the rounding of its inputs' precision.

    Also where f leaves its domain.
    """
    changes = [line.change(k * near)[0] for k in NEAR]
    slope = changes[-1] / (NEAR[-1] * near)
    close = [(k * near, change, 0.01) for k, change in zip(NEAR, changes, strict=True)]
    far = [(t, line.change(t)[0], share) for t, share in FARTHER.items()]
    if not np.all(np.isfinite([change for _, change, _ in close + far])):
        return True
    return bool(slope) and all(
        abs(change - t * slope) <= share * abs(t * slope) + rounding
        for t, change, share in close + far
    )


def _granularity(line: Line) -> float:
    """Return the change of f that remains over the shortest interval; 0 if f is continuous."""
    low = high = (0.0, 0.0)
    for t in INTERVALS:
        if not high[1]:
            high = (t, line.change(t)[0])
    heights = []
    for _ in range(HALVINGS):
        t = (low[0] + high[0]) / 2
        middle = (t, line.change(t)[0])
        if abs(middle[1] - low[1]) > abs(high[1] - middle[1]):
            high = middle
        else:
            low = middle
        heights.append(abs(high[1] - low[1]))
    return heights[-1] if heights[-1] >= DECAY * heights[-1 - DECAY_HALVINGS] else 0.0


def _sigma(line: Line, spacing: float) -> float:
    """Return the standard deviation of the noise, by third differences of equally spaced values."""
    values = [line.change(k * spacing)[0] for k in range(9)]
    sizes = np.abs(np.diff(values, 3))
    return float(np.nan_to_num(np.median(sizes))) / (0.6745 * np.sqrt(20))
