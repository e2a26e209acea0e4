"""Check a derivative numerically.

`check_gradient` compares an analytic derivative with values of the function alone. A function F
that returns an array is made scalar with fixed random weights u, which are also the upstream
gradient of the backward function. Then g = backward(u) is the gradient of

    f(x) = Re <u, F(x)>

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
    With a wrong g the second slope is 1. The third-order term adds O(h) to a slope, and rounding
    O(e/h^2); the fit uses remainders above 100 e. Farrell, Ham, Funke and Rognes, SIAM J. Sci.
    Comput. 35 (2013).
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

Domain. A step that leaves the domain of f, such as the square root's, gives NaN or infinity. It is
divided by ten until it stays inside, and once more, because f may be steep near the edge.

Granularity. A function may compute in float32 inside although its inputs are float64, or give
values that differ by rounding from call to call. Then f moves in steps, or with a noise, of a
relative size epsilon, and e = epsilon |f|. Differences with a step h have the error
O(h^4) + O(epsilon/h), which is least for h near epsilon^(1/5). So epsilon is measured
(`npstyle.lab.precision`), h = epsilon^(1/4) follows it, and so do the tolerances: 1e-6 for float64,
5e-3 for float32, 5e-2 for float16. The report says to which precision the derivative agrees, and
which inputs were not checked, because the noise hides their derivative along every line. If it
hides all, there is an InputError. A mistake below the tolerance is not seen: a factor 20/21 is
caught in float32, not in float16.

Complex numbers. A function of z = x + i y is a function of the pair (x, y). Its gradient is written
as one complex number g = df/dx + i df/dy, so that f changes by Re(conj(g) dz). This is the
direction of steepest ascent, and 2 df/dconj(z) in Wirtinger's calculus. PyTorch's `backward` gives
g; `jax.grad` gives its conjugate, df/dx - i df/dy, for which f changes by Re(g dz). The parameter
`convention` chooses one of them, "plain" or "conjugate", for gradients and upstream gradients
alike. For an F with complex values f = Re sum conj(u) F. So, for an analytic F with the Jacobian J,
backward(u) is conj(J)^T u if the convention is "plain", and J^T u if it is "conjugate". A real
input has a real gradient: the real part. Both parts of z are varied, entry by entry and along
complex directions. Kreutz-Delgado, "The complex gradient operator and the CR-calculus", arXiv
0906.4835 (2009).
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
from npstyle.lab.precision import Precision, precisions_of
from npstyle.lab.subjects import Subject
from npstyle.lab.summary import reports_html, reports_text
from npstyle.lab.trial import Convention, Trial, float_array, scale_of

COMPARISONS = ("textbook", "equals whole")
"""Methods that compare two functions of npstyle."""

MAX_COORDINATES = 200
"""Default number of entries to check: all of a smaller array, a random sample of a larger one."""

STREAM = 1508_06576
"""Second part of the seed, so that u differs from inputs drawn with the same first part."""


@dataclass(frozen=True, repr=False)
class Report:
    """All outcomes for one derivative, or for one function of the engine, shown as a table.

    `notes` say what was not checked, and to which precision the outcomes hold, if that is not the
    inputs' own. `hidden` are the numbers of the inputs whose derivative rounding hides.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return reports_text([self])

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
    return {name: _finite(value) for name, value in asdict(outcome).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
    convention: Convention = "plain",
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
        The point to check at. Inputs that are neither float nor complex arrays have no derivative
        and are fixed.
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
        Largest relative error of differences; by default that of the function's precision
        (`npstyle.lab.precision.TOLERANCES`).
    seed : int
        Seed of u, the directions and the sample; 0 by default.
    convention : {"plain", "conjugate"}
        Whether gradients for complex inputs, and `upstream` for a complex result, are
        df/dx + i df/dy or its conjugate.

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
    subject = formula.subject(name, step, convention)
    report = check_subject(subject, **effort)
    varied = formula.inputs.varied
    outcomes = tuple(replace(o, argument=varied[o.argument]) for o in report.outcomes)
    hidden = tuple(varied[k] for k in report.hidden)
    checked = {o.argument for o in outcomes if o.method == "coordinates"} | {*hidden}
    remarks = formula.remarks(checked, report.passed)
    return replace(report, outcomes=outcomes, notes=(*report.notes, *remarks), hidden=hidden)


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
    trial = Trial(
        subject.function, subject.backward, arrays, subject.pattern, rng, subject.convention
    )
    precisions = precisions_of(trial, np.random.default_rng((seed, STREAM, 1)))
    if tolerance is not None:
        precisions = tuple(replace(precision, tolerance=tolerance) for precision in precisions)
    outcomes: list[Outcome] = []
    hidden: list[int] = []
    for k, (gradient, precision) in enumerate(zip(trial.gradients, precisions, strict=True)):
        if gradient is None:
            continue
        found = []
        if not precision.hides_everything:
            found = _check_input(trial, k, precision, subject, samples, directions, rng)
        if _hides(precision, found):
            hidden.append(k)
        else:
            outcomes += found
    coarsest = max(precisions, key=lambda precision: precision.epsilon)
    for along in forward_subjects(subject, directions, rng):
        report = check_subject(along.subject, directions, 1, seed, tolerance)
        outcomes += along.outcomes(report.outcomes)
        outcomes += along.complex_steps(coarsest.adjoint_tolerance, rng)
        outcomes += along.identity(coarsest.adjoint_tolerance, coarsest.epsilon, rng)
    report = Report(subject.name, tuple(outcomes), hidden=tuple(hidden))
    return _with_notes(report, precisions, subject.labels)


def _with_notes(report: Report, precisions: Sequence[Precision], labels: Sequence[str]) -> Report:
    """Say to which precision a report holds, and which inputs it says nothing about."""
    if report.hidden and not report.outcomes:
        raise InputError(
            "the function moves in steps, or with a noise, that hide its derivative; "
            "let it compute in a higher precision"
        )
    finest = min(precisions, key=lambda precision: precision.epsilon)
    if not finest.measured:
        return report
    verb = "agrees" if report.passed else "was compared"
    names = (labels[k] if labels else f"input {k}" for k in report.hidden)
    hidden = (f"{name} was not checked: rounding hides its derivative" for name in names)
    return replace(report, notes=(f"{verb} to {finest.words}", *hidden))


def _hides(precision: Precision, outcomes: Sequence[Outcome]) -> bool:
    """Return whether the rounding of a coarse function hides a derivative along every line."""
    if not precision.measured or not all(outcome.passed for outcome in outcomes):
        return False
    differences = outcomes[:2]
    clear = sum(o.checked - o.kinks for o in differences)
    return not differences or (clear > 0 and clear == sum(o.unresolved for o in differences))


def _check_input(
    trial: Trial,
    k: int,
    precision: Precision,
    subject: Subject,
    samples: int,
    directions: int,
    rng: np.random.Generator,
) -> list[Outcome]:
    """Check the derivative with respect to one input."""
    gradient = trial.gradients[k]
    assert gradient is not None
    if not np.all(np.isfinite(gradient)):
        wrong = tuple(int(i) for i in np.argwhere(~np.isfinite(gradient))[0])
        note = f"the analytic derivative is {gradient[wrong]} at {wrong}"
        error = float("inf")
        return [Outcome("coordinates", k, False, error, precision.tolerance, 1, note=note)]
    scale = scale_of(trial.inputs[k])
    inputs_epsilon = max(float(np.finfo(x.dtype).eps) for x in trial.inputs)
    rounding = max(trial.rounding(k, scale, inputs_epsilon, rng), precision.noise)
    h = precision.epsilon**0.25
    if subject.step is not None:
        h = max(h, subject.step) if precision.measured else subject.step
    at = (trial, k, scale)
    methods = [
        partial(lab_methods.coordinates, *at, rounding, precision, h, samples, rng),
        partial(lab_methods.directions, *at, rounding, precision, h, directions, rng),
        partial(lab_methods.taylor_remainders, *at, rounding, precision, rng),
    ]
    if k in subject.linear:
        methods.append(partial(lab_methods.adjoint, trial, k, precision.adjoint_tolerance, rng))
    if k in subject.smooth:
        methods.append(partial(lab_methods.complex_step, *at, precision, directions, rng))
    outcomes: list[Outcome] = []
    for method in methods:
        start = time.perf_counter()
        outcome = method()
        outcomes.append(replace(outcome, seconds=time.perf_counter() - start))
    if not outcomes[0].passed:
        hint = _other_convention(trial, k, precision, directions)
        outcomes[0] = replace(outcomes[0], note=outcomes[0].note + hint)
    return outcomes


def _other_convention(trial: Trial, k: int, precision: Precision, count: int) -> str:
    """Name the other convention for complex gradients if the derivative agrees with it."""
    if all(array.dtype.kind == "f" for array in (trial.inputs[k], trial.base)):
        return ""
    other: Convention = "conjugate" if trial.convention == "plain" else "plain"
    rng = np.random.default_rng(STREAM)
    turned = Trial(trial.function, trial.backward, trial.inputs, trial.pattern, rng, other)
    scale, h = scale_of(trial.inputs[k]), precision.epsilon**0.25
    rounding = max(turned.rounding(k, scale, precision.epsilon, rng), precision.noise)
    agrees = lab_methods.directions(turned, k, scale, rounding, precision, h, count, rng).passed
    return f'; it agrees with convention="{other}"' if agrees else ""
