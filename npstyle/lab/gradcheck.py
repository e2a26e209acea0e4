"""The verification laboratory: whether a derivative is right.

`check_gradient` holds an analytic derivative against numbers got from the function alone. An
array-valued F is first made a scalar with a fixed random weighting u (the backward function's
upstream gradient), so that g = backward(u) is the gradient of

    f(x) = <u, F(x)>

The methods, each with the error it has (e: rounding of f) and its source:

coordinates
    Central differences with Richardson's extrapolation, entry by entry, or at a random sample of
    a large array's entries: O(h^4) + O(e/h). Nocedal and Wright, "Numerical optimization", 8.1.
directions
    The same along random directions v, against <g, v>: one direction tests the whole Jacobian.
taylor
    |f(x+hv) - f(x)| falls with slope 1 on log-log axes and |f(x+hv) - f(x) - h <g,v>| with slope
    2, which a wrong g turns into 1. Farrell, Ham, Funke and Rognes, SIAM J. Sci. Comput. 35
    (2013).
adjoint
    For a linear A, <A x, y> = <x, A^T y> for any x and y, to rounding. Claerbout, "Earth
    soundings analysis: processing versus inversion" (1992), the dot-product test.
complex step
    For an analytic F, Im f(x + i h v) / h = <g, v> + O(h^2) without any difference, so that h =
    1e-30 leaves rounding only. Squire and Trapp, SIAM Review 40 (1998).
equals whole
    The objective by tiles (`npstyle.tiles.objective`) is the whole picture's, to rounding.

Kinks. A ReLU at 0 and a tie in max pooling have no derivative, and a difference across one says
nothing. A line that meets a kink is tried again with shorter steps; where the kink stays, the
line counts as "at a kink". If it meets a single kink, the one-sided slopes are estimated, and the
analytic slope must lie between them; where several kinks meet, no such bound holds, and the line
is counted only. `npstyle.lab.probes` says how kinks are seen.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.lab import methods as lab_methods
from npstyle.lab.battery import Subject
from npstyle.lab.methods import Outcome
from npstyle.lab.on_gpu import card_objectives, card_subjects
from npstyle.lab.trial import Trial, float_array, scale_of
from npstyle.lab.userfile import load_pair
from npstyle.lab.whole import all_subjects, tile_outcomes
from npstyle.networks.network import Network

Array = NDArray[Any]

MAX_COORDINATES = 200
STREAM = 1508_06576
TOLERANCES = {"float16": 5e-2, "float32": 5e-3, "float64": 1e-6}
ADJOINT_TOLERANCES = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-13}


@dataclass(frozen=True)
class Report:
    """All outcomes for one derivative."""

    name: str
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """True if no method found anything wrong."""
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def kinks(self) -> int:
        """Number of lines that were at a kink."""
        return sum(outcome.kinks for outcome in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "name": self.name,
            "passed": self.passed,
            "kinks": self.kinks,
            "outcomes": [_figures(outcome) for outcome in self.outcomes],
        }


def _figures(outcome: Outcome) -> dict[str, Any]:
    """All fields of an outcome; JSON has no NaN, so a slope that could not be fitted is None."""
    figures = asdict(outcome)
    if outcome.slopes is not None:
        figures["slopes"] = [None if np.isnan(slope) else slope for slope in outcome.slopes]
    return figures


def check_gradient(
    function: Callable[..., Any],
    backward: Callable[..., Any] | None,
    inputs: Sequence[Array],
    *,
    name: str = "",
    pattern: Callable[..., tuple[Any, Any]] | None = None,
    linear: Collection[int] = (),
    smooth: Collection[int] = (),
    samples: int = MAX_COORDINATES,
    directions: int = 10,
    step: float | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Hold an analytic derivative against numbers.

    Parameters
    ----------
    function : callable
        `function(*inputs)` returns an array or a scalar; without a `backward`, a pair (scalar,
        gradient), with a tuple of gradients for several inputs.
    backward : callable or None
        `backward(upstream, *inputs)` returns the gradient with respect to the inputs: one array,
        or a tuple with an array or None (not checked) for each. `upstream` is dL/dF, of the shape
        of the function's result.
    inputs : sequence of float arrays
        Where to check.
    name : str
        For the report.
    pattern : callable, optional
        Like `function`, but returns (result, pattern), where pattern is an array that changes
        when a kink is crossed, and only then.
    linear : indices
        Inputs that the function is linear or affine in: for them the adjoint test is run.
    smooth : indices
        Inputs that the function is analytic in and takes complex: the complex step is run.
    samples : int
        Coordinates to check in arrays that have more.
    directions : int
        Random directions.
    step : float, optional
        h, relative to the size of the entries; the fourth root of the precision if not given.
    tolerance : float, optional
        Relative error allowed for differences; by precision if not given (`TOLERANCES`).
    seed : int
        Of u, the directions and the sample.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If an input is no float array, the function is random or not finite, or a gradient has
        the wrong shape.
    """
    # A stream of its own: inputs drawn with the same seed must not come out equal to u, which
    # would make a gate on the upstream gradient look like the gate on the input.
    rng = np.random.default_rng((seed, STREAM))
    if linear and backward is None:
        raise InputError("linear: the adjoint test needs a backward function that takes dL/dF")
    arrays = tuple(float_array(x, k) for k, x in enumerate(inputs))
    trial = Trial(function, backward, arrays, pattern, rng)
    precision = min((x.dtype for x in arrays), key=lambda dtype: dtype.itemsize)
    epsilon = float(np.finfo(precision).eps)
    if tolerance is None:
        tolerance = TOLERANCES.get(precision.name, TOLERANCES["float64"])
    adjoint_tolerance = ADJOINT_TOLERANCES.get(precision.name, ADJOINT_TOLERANCES["float64"])
    h = epsilon**0.25 if step is None else step
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
        if k in linear:
            methods.append(partial(lab_methods.adjoint, trial, k, adjoint_tolerance, rng))
        if k in smooth:
            methods.append(partial(lab_methods.complex_step, *at, directions, rng))
        for method in methods:
            start = time.perf_counter()
            outcome = method()
            outcomes.append(replace(outcome, seconds=time.perf_counter() - start))
    return Report(name, tuple(outcomes))


def check_subject(
    subject: Subject, samples: int = MAX_COORDINATES, directions: int = 10, seed: int = 0
) -> Report:
    """Check one of npstyle's own derivatives; parameters as in `check_gradient`."""
    return check_gradient(
        subject.function,
        subject.backward,
        subject.inputs,
        name=subject.name,
        pattern=subject.pattern,
        linear=subject.linear,
        smooth=subject.smooth,
        step=subject.step,
        samples=samples,
        directions=directions,
        seed=seed,
    )


def check_network(
    network: Network, size: int, samples: int, directions: int, seed: int = 0
) -> Iterator[Report]:
    """Check every kernel, loss, layer of a network, preset and tile, one after another.

    Parameters
    ----------
    network : Network
    size : int
        Side of the picture that the whole objective is checked on.
    samples, directions, seed
        As in `check_gradient`.

    Raises
    ------
    InputError
        If the picture is too small for the network.
    """
    for subject in all_subjects(network, size, seed):
        yield check_subject(subject, samples, directions, seed)
    for name, outcome in tile_outcomes(network, seed):
        yield Report(name, (outcome,))


def check_card(
    network: Network, size: int, samples: int, directions: int, seed: int = 0
) -> Iterator[Report]:
    """Check every kernel of an NVIDIA card, and the whole objective there for every preset.

    Parameters and errors are those of `check_network`; see `npstyle.lab.on_gpu`.
    """
    for subject in (*card_subjects(seed), *card_objectives(network, size, seed)):
        yield check_subject(subject, samples, directions, seed)


def check_file(
    target: str, shape: tuple[int, ...], samples: int, directions: int, seed: int = 0
) -> Report:
    """Check a function pair from a file; see `npstyle.lab.userfile` for what it may look like."""
    function, backward, inputs = load_pair(target, shape, seed)
    return check_gradient(
        function,
        backward,
        inputs,
        name=Path(target).name,
        samples=samples,
        directions=directions,
        seed=seed,
    )
