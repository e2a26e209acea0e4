"""Moving the pixels downhill, inside the box 0..255.

L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; SciPy's implementation) builds a quadratic model of the
objective from the last m steps s_k = x_(k+1) - x_k and gradient changes y_k, minimises it over
the box, and searches along the way there for a point that fulfils the strong Wolfe conditions.
The paper used L-BFGS too.

Minimising the model over the box costs three times what it costs without one, so the box is kept in
another way: a number that leaves it is reflected at its walls (`npstyle.search.box`). At a wall the
objective has a kink then; should the search find no way down there, it goes on with the box as
bounds.

Where the picture is, the search takes place. A picture on a GPU stays there, and
`npstyle.search.lbfgs` takes the steps that SciPy's would take, which would have to be sent every
picture and gradient. (With the box as bounds it is SciPy's all the same: that is rare, and near the
end.)

Adam (Kingma and Ba 2015, Algorithm 1) needs less memory:

    m = beta_1 m + (1 - beta_1) g          v = beta_2 v + (1 - beta_2) g^2
    x = x - step (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)

followed by a clip to the box.

Whatever happens (Ctrl-C, a loss that is no number, the end of the iterations), the best image
seen so far is what comes back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

from npstyle.engine.cuda.arrays import to_host
from npstyle.engine.disk import Allocate, in_memory
from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.engine.objective import Evaluation
from npstyle.run.settings import ADAM_STEP, Optimizer
from npstyle.search.box import PIXEL_MAX, mirror, mirror_backward
from npstyle.search.lbfgs import minimize_lbfgs

Array = NDArray[Any]

CORRECTIONS = 10
"""L-BFGS-B's m: history (s, y) kept, of two float64 images each. SciPy's own default."""

LBFGS_VECTORS = 21
"""float64 pictures alive under L-BFGS-B besides its history (s, y): work vectors, copies."""

LEAN_VECTORS = 11
"""The same with history of its own: x, the direction, z, the pictures, the gradients."""

GPU_VECTORS = 12
"""float64 pictures alive under either on a GPU besides L-BFGS's rows, or Adam's vectors: x, the
direction, pictures and gradients on the way to the objective and back."""

ADAM_VECTORS = 11
"""float64 pictures alive under Adam: x, g, m, v, their temporaries, the best picture."""

ADAM_BETA_1 = 0.9
ADAM_BETA_2 = 0.999
ADAM_EPSILON = 1e-8


class Objective(Protocol):
    """Pixels in, (loss, gradient, parts) out; see `npstyle.engine.objective.StyleObjective`."""

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
    current : float64 array (height, width, 3), 0..255
        The present picture, where the search has it: maybe on a GPU.
    best : float64 array (height, width, 3), 0..255
        The picture with the lowest loss so far; the present one, unless the last step went up.
    finished : callable
        Makes of such a picture, on the host, what is shown.
    """

    iteration: int
    evaluations: int
    loss: float
    parts: dict[str, float]
    current: Array
    best: Array
    finished: Callable[[Array], Array] = np.asarray

    @property
    def image(self) -> Array:
        """The present picture as it is shown. Copy it if you keep it."""
        return self.finished(to_host(self.current))

    @property
    def best_image(self) -> Array:
        """The picture with the lowest loss so far as it is shown. Copy it if you keep it."""
        return self.finished(to_host(self.best))


Stopped = Literal["iterations", "converged", "interrupted", "not finite"]


@dataclass(frozen=True)
class History:
    """How L-BFGS keeps its history where memory is short: in float32, by `npstyle.search.lbfgs`.

    Attributes
    ----------
    count : int
        m.
    allocate : callable
        Makes the array that they are in.
    """

    count: int
    allocate: Allocate = in_memory


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
        self.image = self.best_image = image
        self.best_loss = self.loss = float("nan")
        self.best_parts = self.parts = dict[str, float]()

    def evaluate(self, flat: Array) -> tuple[float, Array]:
        """Loss and gradient, both flat. The picture is kept: it must not be changed any more."""
        raise_if_interrupted()
        image = flat.reshape(self.shape)
        evaluation = self.objective(image)
        self.evaluations += 1
        if not (np.isfinite(evaluation.loss) and np.all(np.isfinite(evaluation.gradient))):
            raise _NotFiniteError
        self.image, self.loss, self.parts = image, evaluation.loss, evaluation.parts
        if self.evaluations == 1 or evaluation.loss < self.best_loss:
            self.best_image = image
            self.best_loss, self.best_parts = evaluation.loss, evaluation.parts
        return evaluation.loss, evaluation.gradient.ravel()

    def step(self, _: Array) -> None:
        """Report one finished iteration, whose picture is the one evaluated last."""
        self.iteration += 1
        if self.callback is not None:
            self.callback(
                Progress(
                    self.iteration,
                    self.evaluations,
                    self.loss,
                    self.parts,
                    self.image,
                    self.best_image,
                )
            )


def optimize(
    objective: Objective,
    image: Array,
    *,
    iterations: int,
    optimizer: Optimizer = "lbfgs",
    adam_step: float = ADAM_STEP,
    history: History | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Result:
    """Lower the objective from a starting picture.

    Parameters
    ----------
    objective : callable
        Pixels (height, width, 3) -> (loss, gradient, parts).
    image : array (height, width, 3), 0..255
        Where to start; clipped to the box. It is not changed. If it is on a GPU (in float64), so is
        the search, and the objective is given pictures there.
    iterations : int
        Steps to take; 0 only evaluates. A step of L-BFGS-B costs one evaluation as a rule, now
        and then more.
    optimizer : "lbfgs" or "adam"
    adam_step : float
        Adam's step: about how far a pixel moves in one iteration, in 0..255.
    history : History, optional
        Of L-BFGS on the CPU; SciPy's ten of float64 if not given. With fewer or rounded history it
        takes other steps, and where it finds no way down it does not go on with bounds.
    callback : callable, optional
        Called after each iteration with a `Progress`.

    Returns
    -------
    Result
        Also after Ctrl-C (KeyboardInterrupt), which is not raised again: `stopped` says so.
    """
    start = image if on_gpu(image) else np.asarray(image, np.float64)
    if start.min() < 0 or start.max() > PIXEL_MAX:
        start = np.clip(start, 0, PIXEL_MAX)
    recorder = _Recorder(objective, start, callback)
    stopped: Stopped
    try:
        if iterations == 0:
            recorder.evaluate(start.ravel())
            stopped = "iterations"
        elif optimizer == "lbfgs":
            stopped = _lbfgs(recorder, iterations, history)
        else:
            stopped = _adam(recorder, iterations, adam_step)
    except KeyboardInterrupt:
        stopped = "interrupted"
    except _NotFiniteError:
        stopped = "not finite"
    return Result(
        to_host(recorder.best_image),
        recorder.best_loss,
        recorder.best_parts,
        recorder.iteration,
        recorder.evaluations,
        stopped,
    )


def vectors_held(
    optimizer: Optimizer, iterations: int, history: int | None = None, *, on_gpu: bool = False
) -> int:
    """How many float64 pictures `optimize` holds at once, float32 history aside."""
    if on_gpu:
        return GPU_VECTORS + (2 * (CORRECTIONS + 1) + 1 if optimizer == "lbfgs" else 3)
    if optimizer == "adam":
        return ADAM_VECTORS
    if history is not None:
        return LEAN_VECTORS
    return LBFGS_VECTORS + 2 * min(CORRECTIONS, iterations)


def history_bytes(history: int, size: tuple[int, int]) -> int:
    """Memory of float32 history of pictures of this height and width, and of what goes with
    them."""
    return 4 * math.prod(_basis_shape(history, 3 * size[0] * size[1]))


def _basis_shape(history: int, values: int) -> tuple[int, int]:
    return 2 * history + 3, values


def adam_direction(
    gradient: Array, mean: Array, square: Array, t: int
) -> tuple[Array, Array, Array]:
    """One step of Adam: the new m and v, and the direction that `step` times is taken off x.

    Parameters
    ----------
    gradient, mean, square : arrays of one shape
        g, and m and v of the step before; zeros before the first.
    t : int
        Number of the step, from 1.
    """
    mean = ADAM_BETA_1 * mean + (1 - ADAM_BETA_1) * gradient
    square = ADAM_BETA_2 * square + (1 - ADAM_BETA_2) * gradient**2
    unbiased_mean = mean / (1 - ADAM_BETA_1**t)
    unbiased_square = square / (1 - ADAM_BETA_2**t)
    return mean, square, unbiased_mean / (np.sqrt(unbiased_square) + ADAM_EPSILON)


def _lbfgs(recorder: _Recorder, iterations: int, history: History | None) -> Stopped:
    def mirrored(z: Array) -> tuple[float, Array]:
        loss, gradient = recorder.evaluate(mirror(z))
        return loss, mirror_backward(gradient, z)

    def bounded(x: Array) -> tuple[float, Array]:
        return recorder.evaluate(x.copy())

    def scipys(function: Callable[[Array], tuple[float, Array]], bounds: Bounds | None) -> None:
        minimize(
            function,
            to_host(recorder.best_image).ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=recorder.step,
            options={
                "maxcor": CORRECTIONS,
                "maxiter": iterations - recorder.iteration,
                # The number of iterations is the stopping rule: no other one may come before it.
                "maxfun": 100 * iterations,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )

    start = recorder.best_image.ravel()
    own = on_gpu(start) or history is not None
    if own:
        basis = None
        if history is not None and not on_gpu(start):
            shape = _basis_shape(history.count, start.size)
            basis = history.allocate(shape, np.float32, "what the search remembers")
        minimize_lbfgs(
            mirrored,
            start,
            iterations=iterations,
            corrections=CORRECTIONS if history is None else history.count,
            callback=recorder.step,
            basis=basis,
        )
    else:
        scipys(mirrored, None)
    if recorder.iteration < iterations and history is None:
        scipys(bounded, Bounds(0.0, PIXEL_MAX))
    return "iterations" if recorder.iteration >= iterations else "converged"


def _adam(recorder: _Recorder, iterations: int, step: float) -> Stopped:
    x = recorder.best_image.ravel()
    mean = np.zeros_like(x)
    square = np.zeros_like(x)
    _, gradient = recorder.evaluate(x)
    for t in range(1, iterations + 1):
        mean, square, direction = adam_direction(gradient, mean, square, t)
        x = np.clip(x - step * direction, 0, PIXEL_MAX)
        _, gradient = recorder.evaluate(x)
        recorder.step(x)
    return "iterations"
