"""Check a derivative numerically.

`check_gradient` compares an analytic derivative with values of the function alone. A function F
that returns an array is made scalar with fixed random weights u, which are also the upstream
gradient of the backward function. Then g = backward(u) is the gradient of

    f(x) = <u, F(x)>

The methods, with their errors (e is the rounding error of f) and sources:

coordinates
    Central differences with Richardson's extrapolation, entry by entry, or at a random sample of
    the entries of a large array: O(h^4) + O(e/h). Nocedal and Wright, "Numerical optimization",
    section 8.1.
directions
    The same along random directions v, compared with <g, v>. One direction tests the whole
    Jacobian.
taylor
    On log-log axes |f(x+hv) - f(x)| falls with slope 1 and |f(x+hv) - f(x) - h <g,v>| with slope 2.
    With a wrong g the second slope is 1. Farrell, Ham, Funke and Rognes, SIAM J. Sci. Comput. 35
    (2013).
adjoint
    For a linear A, <A x, y> = <x, A^T y> for any x and y, up to rounding. Claerbout, "Earth
    soundings analysis: processing versus inversion" (1992), the dot-product test.
complex step
    For an analytic F, Im f(x + i h v) / h = <g, v> + O(h^2). Nothing is subtracted, so h = 1e-30
    leaves only rounding. Squire and Trapp, SIAM Review 40 (1998).

A forward derivative J v and a Hessian-vector product are checked by the same methods
(`npstyle.lab.forward_mode`), and by two identities: <u, J v> = <J^T u, v> and <u, H v> = <H u, v>.

npstyle's own battery (`npstyle.lab.suite`) adds two methods:

textbook
    A function of the engine agrees with its page of `npstyle.maths` (`npstyle.lab.agreement`).
equals whole
    The objective by tiles agrees with the objective of the whole picture.

Kinks. A ReLU at 0 and a tie in max pooling have no derivative, and a difference across one says
nothing about a derivative. A line that crosses a kink is tried again with shorter steps. If no step
is short enough, the line counts as "at a kink". If it crosses a single kink, the one-sided slopes
are estimated, and the analytic slope must lie between them. Where several kinks meet no such bound
holds, and the line is only counted. `npstyle.lab.probes` describes how kinks are detected.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np

from npstyle.errors import InputError
from npstyle.lab import methods as lab_methods
from npstyle.lab.formula import Fixed, Formula, Functions
from npstyle.lab.forward_mode import forward_subjects
from npstyle.lab.methods import Outcome
from npstyle.lab.subjects import Subject
from npstyle.lab.summary import reports_html
from npstyle.lab.trial import Trial, float_array, scale_of

COMPARISONS = ("textbook", "equals whole")
"""Methods that compare two functions of npstyle."""

MAX_COORDINATES = 200
"""Default number of entries to check: all of a smaller array, a random sample of a larger one."""

STREAM = 1508_06576
"""Second part of the seed, so that u differs from inputs drawn with the same first part."""

TOLERANCES = {"float16": 5e-2, "float32": 5e-3, "float64": 1e-6}
"""Largest relative error of a difference, by precision."""

ADJOINT_TOLERANCES = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-13}
"""Largest relative error of the adjoint test, by precision."""


@dataclass(frozen=True)
class Report:
    """All outcomes for one derivative, or for one function of the engine.

    `notes` say what was not checked.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return reports_html([self])

    @property
    def passed(self) -> bool:
        """True if every method passed."""
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def is_comparison(self) -> bool:
        """True if functions were compared with each other, and no derivative with numbers."""
        return all(outcome.method in COMPARISONS for outcome in self.outcomes)

    @property
    def kinks(self) -> int:
        """Number of lines at a kink."""
        return sum(outcome.kinks for outcome in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        """Return every number, ready for JSON."""
        return {
            "name": self.name,
            "passed": self.passed,
            "kinks": self.kinks,
            "notes": list(self.notes),
            "outcomes": [_as_dict(outcome) for outcome in self.outcomes],
        }


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    """All fields of an outcome; JSON has no NaN, so a slope that could not be fitted is None."""
    fields = asdict(outcome)
    if outcome.slopes is not None:
        fields["slopes"] = [None if np.isnan(slope) else slope for slope in outcome.slopes]
    return fields


class Effort(TypedDict, total=False):
    """How thoroughly a derivative is checked; `check_gradient` describes the numbers."""

    samples: int
    directions: int
    tolerance: float | None
    seed: int


def check_gradient(
    function: Callable[..., Any],
    backward: Callable[..., Any] | None,
    inputs: Sequence[Any],
    *,
    fixed: Fixed = (),
    jvp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    name: str = "",
    step: float | None = None,
    **effort: Unpack[Effort],
) -> Report:
    """Check an analytic derivative numerically.

    Parameters
    ----------
    function : callable
        `function(*inputs)` returns a float array, a number, or a tuple of them. Without `backward`
        it returns a pair (number, gradient), with a tuple of gradients for several inputs.
    backward : callable or None
        `backward(upstream, *inputs)` returns the gradient with respect to the inputs: one array,
        or a tuple or list with one array, or None for an input that is not checked, per input.
        `upstream` is dL/dF, of the shape of the function's result, and a tuple if that is one.
        Parameters named as those of the function may stand in another order, and a parameter
        `cache` takes the second entry of a result (result, cache): see `npstyle.lab.calling`.
        Where the function returns a number, `backward(*inputs)` will do.
    inputs : sequence
        The point to check at. Inputs that are no float arrays have no derivative and are fixed.
    fixed : names or numbers of inputs
        Float inputs that have no derivative, such as a mask.
    jvp : callable, optional
        `jvp(inputs, tangents)` takes two tuples and returns the derivative along the tangents, of
        the shape of the result; the tangent of a fixed input is None. `jvp(*inputs, *tangents)`
        will do.
    hvp : callable, optional
        The same for the product of the Hessian with the tangents, of a function that returns a
        number: one array per input.
    name : str
        Name of the report.
    step : float, optional
        h, relative to the size of the entries; the fourth root of the precision by default.
    samples : int
        Number of coordinates to check in arrays that have more; 200 by default.
    directions : int
        Number of random directions; 10 by default.
    tolerance : float, optional
        Largest relative error of differences; by default that of the precision (`TOLERANCES`).
    seed : int
        Seed of u, the directions and the sample; 0 by default.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If no input has a derivative, the function is random or not finite, a gradient has the
        wrong shape, or the parameters of a function fit no convention.

    See Also
    --------
    check_subject : also runs the methods for linear, analytic and kinked functions.
    """
    formula = Formula(Functions(function, backward, jvp, hvp), inputs, fixed)
    subject = formula.subject(name, step)
    report = check_subject(subject, **effort)
    varied = formula.inputs.varied
    outcomes = tuple(replace(o, argument=varied[o.argument]) for o in report.outcomes)
    checked = {o.argument for o in outcomes if o.method == "coordinates"}
    return replace(report, outcomes=outcomes, notes=formula.remarks(checked, report.passed))


def check_subject(
    subject: Subject,
    samples: int = MAX_COORDINATES,
    directions: int = 10,
    seed: int = 0,
    tolerance: float | None = None,
) -> Report:
    """Check a derivative by all methods that its function allows.

    Parameters
    ----------
    subject : Subject
        The function, its derivative, the point, and what is known of the function.
    samples, directions, seed, tolerance
        As in `check_gradient`, which documents the errors.

    Returns
    -------
    Report
    """
    # If inputs drawn with the same seed were equal to u, a mask on the upstream gradient would look
    # like the mask on the input.
    rng = np.random.default_rng((seed, STREAM))
    if subject.linear and subject.backward is None:
        raise InputError("linear: the adjoint test needs a backward function that takes dL/dF")
    arrays = tuple(float_array(x, k) for k, x in enumerate(subject.inputs))
    trial = Trial(subject.function, subject.backward, arrays, subject.pattern, rng)
    precision = min((x.dtype for x in arrays), key=lambda dtype: dtype.itemsize)
    epsilon = float(np.finfo(precision).eps)
    if tolerance is None:
        tolerance = TOLERANCES.get(precision.name, TOLERANCES["float64"])
    adjoint_tolerance = ADJOINT_TOLERANCES.get(precision.name, ADJOINT_TOLERANCES["float64"])
    h = epsilon**0.25 if subject.step is None else subject.step
    outcomes: list[Outcome] = []
    for k, gradient in enumerate(trial.gradients):
        if gradient is None:
            continue
        scale = scale_of(arrays[k])
        rounding = trial.rounding(k, scale, epsilon, rng)
        at = (trial, k, scale)
        methods = [
            partial(lab_methods.coordinates, *at, rounding, samples, h, tolerance, rng),
            partial(lab_methods.directions, *at, rounding, directions, h, tolerance, rng),
            partial(lab_methods.taylor_remainders, *at, rounding, rng),
        ]
        if k in subject.linear:
            methods.append(partial(lab_methods.adjoint, trial, k, adjoint_tolerance, rng))
        if k in subject.smooth:
            methods.append(partial(lab_methods.complex_step, *at, directions, rng))
        for method in methods:
            start = time.perf_counter()
            outcome = method()
            outcomes.append(replace(outcome, seconds=time.perf_counter() - start))
    for along in forward_subjects(subject, directions, rng):
        report = check_subject(along.subject, directions, 1, seed, tolerance)
        outcomes += along.outcomes(report.outcomes)
        outcomes += along.complex_steps(adjoint_tolerance, rng)
        outcomes += along.identity(adjoint_tolerance, epsilon, rng)
    return Report(subject.name, tuple(outcomes))
