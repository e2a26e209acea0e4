"""Moving the pixels downhill, inside the box 0..255.

L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; SciPy's implementation) builds a quadratic model of the
objective from the last m steps s_k = x_(k+1) - x_k and gradient changes y_k, minimises it over
the box, and searches along the way there for a point that fulfils the strong Wolfe conditions.
The paper used L-BFGS too. Adam (Kingma and Ba 2015, Algorithm 1) needs less memory:

    m = beta_1 m + (1 - beta_1) g          v = beta_2 v + (1 - beta_2) g^2
    x = x - step (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)

followed by a clip to the box.

Whatever happens (Ctrl-C, a loss that is no number, the end of the iterations), the best image
seen so far is what comes back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

from npstyle.objective import Evaluation
from npstyle.presets import Optimizer

Array = NDArray[Any]

PIXEL_MAX = 255.0
CORRECTIONS = 10
"""L-BFGS-B's m: pairs (s, y) kept. SciPy's default; every pair costs two float64 images."""

ADAM_STEP = 5.0
ADAM_BETA_1 = 0.9
ADAM_BETA_2 = 0.999
ADAM_EPSILON = 1e-8


class Objective(Protocol):
    """Pixels in, (loss, gradient, parts) out; see `npstyle.objective.StyleObjective`."""

    def __call__(self, pixels: Array, /) -> Evaluation:
        """Evaluate."""


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each iteration.

    Attributes
    ----------
    iteration, evaluations : int
        Steps taken and evaluations of the objective, so far.
    loss : float
        The objective at `image`.
    parts : dict
        Its weighted terms.
    image : float64 array (height, width, 3), 0..255
        The present picture. Copy it if you keep it.
    best_image : float64 array (height, width, 3), 0..255
        The picture with the lowest loss so far; the present one, unless the last step went up.
    """

    iteration: int
    evaluations: int
    loss: float
    parts: dict[str, float]
    image: Array
    best_image: Array


Stopped = Literal["iterations", "converged", "interrupted", "not finite"]


@dataclass(frozen=True)
class Result:
    """The best picture found, and how the search ended.

    Attributes
    ----------
    image : float64 array (height, width, 3), 0..255
        The picture with the lowest loss.
    loss : float
    parts : dict
        Its weighted terms.
    iterations, evaluations : int
    stopped : str
        "iterations" (all done), "converged" (no step lowers the loss any more), "interrupted"
        (Ctrl-C) or "not finite" (the loss was NaN or infinite).
    """

    image: Array
    loss: float
    parts: dict[str, float]
    iterations: int
    evaluations: int
    stopped: Stopped


class _NotFiniteError(Exception):
    """The objective returned NaN or infinity; ends the search from inside SciPy."""


class _Recorder:
    """Evaluates the objective for an optimiser, and remembers the best picture."""

    def __init__(
        self,
        objective: Objective,
        image: Array,
        callback: Callable[[Progress], None] | None,
    ) -> None:
        self.objective = objective
        self.callback = callback
        self.shape = image.shape
        self.iteration = 0
        self.evaluations = 0
        self.best_image = image.copy()
        self.best: Evaluation | None = None
        self.last: Evaluation | None = None

    def evaluate(self, flat: Array) -> tuple[float, Array]:
        image = flat.reshape(self.shape)
        evaluation = self.objective(image)
        self.evaluations += 1
        if not (np.isfinite(evaluation.loss) and np.all(np.isfinite(evaluation.gradient))):
            raise _NotFiniteError
        self.last = evaluation
        if self.best is None or evaluation.loss < self.best.loss:
            self.best_image = image.copy()
            self.best = evaluation
        return evaluation.loss, evaluation.gradient.ravel()

    def step(self, flat: Array) -> None:
        """Report one finished iteration, whose picture is the one evaluated last."""
        assert self.last is not None
        self.iteration += 1
        if self.callback is not None:
            self.callback(
                Progress(
                    self.iteration,
                    self.evaluations,
                    self.last.loss,
                    self.last.parts,
                    flat.reshape(self.shape),
                    self.best_image,
                )
            )


def optimize(
    objective: Objective,
    image: Array,
    *,
    iterations: int,
    optimizer: Optimizer = "lbfgs",
    callback: Callable[[Progress], None] | None = None,
) -> Result:
    """Lower the objective from a starting picture.

    Parameters
    ----------
    objective : callable
        Pixels (height, width, 3) -> (loss, gradient, parts).
    image : array (height, width, 3), 0..255
        Where to start; clipped to the box. It is not changed.
    iterations : int
        Steps to take. A step of L-BFGS-B costs one evaluation as a rule, now and then more.
    optimizer : "lbfgs" or "adam"
    callback : callable, optional
        Called after each iteration with a `Progress`.

    Returns
    -------
    Result
        Also after Ctrl-C (KeyboardInterrupt), which is not raised again: `stopped` says so.
    """
    start = np.clip(np.asarray(image, np.float64), 0, PIXEL_MAX)
    recorder = _Recorder(objective, start, callback)
    run = _lbfgs if optimizer == "lbfgs" else _adam
    stopped: Stopped
    try:
        stopped = run(recorder, start.ravel(), iterations)
    except KeyboardInterrupt:
        stopped = "interrupted"
    except _NotFiniteError:
        stopped = "not finite"
    best = recorder.best
    return Result(
        recorder.best_image,
        best.loss if best else float("nan"),
        best.parts if best else {},
        recorder.iteration,
        recorder.evaluations,
        stopped,
    )


def _lbfgs(recorder: _Recorder, start: Array, iterations: int) -> Stopped:
    result = minimize(
        recorder.evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0.0, PIXEL_MAX),
        callback=recorder.step,
        options={
            "maxcor": CORRECTIONS,
            "maxiter": iterations,
            # The number of iterations is the stopping rule: no other one may come before it.
            "maxfun": 100 * iterations,
            "ftol": 0.0,
            "gtol": 0.0,
        },
    )
    return "iterations" if result.nit >= iterations else "converged"


def _adam(recorder: _Recorder, start: Array, iterations: int) -> Stopped:
    x = start.copy()
    mean = np.zeros_like(x)
    square = np.zeros_like(x)
    _, gradient = recorder.evaluate(x)
    for t in range(1, iterations + 1):
        mean = ADAM_BETA_1 * mean + (1 - ADAM_BETA_1) * gradient
        square = ADAM_BETA_2 * square + (1 - ADAM_BETA_2) * gradient**2
        unbiased_mean = mean / (1 - ADAM_BETA_1**t)
        unbiased_square = square / (1 - ADAM_BETA_2**t)
        x = x - ADAM_STEP * unbiased_mean / (np.sqrt(unbiased_square) + ADAM_EPSILON)
        x = np.clip(x, 0, PIXEL_MAX)
        _, gradient = recorder.evaluate(x)
        recorder.step(x)
    return "iterations"
