"""Lower the objective by moving the pixels inside the box 0..255.

L-BFGS builds a quadratic model of the objective from the last m steps s_k = x_(k+1) - x_k and
gradient changes y_k = g_(k+1) - g_k, and searches along the line to its minimum for a point that
fulfils the strong Wolfe conditions. The paper used it too. There are two programs for it, and both
take the same steps up to rounding:

lbfgs
    `npstyle.search.lbfgs`, on all threads or on the GPU, with a history that may be rounded to
    float32 and may be on disk.
scipy
    SciPy's L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995), on one thread. The reference for the other.

Neither moves the pixels themselves: they move the coordinates of `npstyle.search.coordinates`.

To minimise the model over the box would take three times as long as without bounds. Therefore the
search has no bounds: pixels that leave the box are reflected at its walls (`npstyle.maths.box`).
The objective then has kinks at the walls. If the search finds no step down at such a kink, SciPy's
L-BFGS-B goes on with the pixels, and with the box as bounds. (It does so on a GPU as well. It is
rare, and starts near the minimum.)

Adam (`npstyle.search.adam`) holds fewer images in memory.

After Ctrl-C, a loss that is NaN or infinite, or the last iteration, the result is the best image
seen so far.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.disk import Allocate, in_memory
from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.engine.losses import Evaluation
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.search import Optimizer
from npstyle.search.adam import ADAM_STEP, minimize_adam
from npstyle.search.coordinates import (
    COLORS,
    Colors,
    Function,
    coordinates,
    first_step,
    knowing_start,
)
from npstyle.search.lbfgs import CORRECTIONS, basis_shape, minimize_lbfgs

BOUNDED_CORRECTIONS = 10
"""Length of SciPy's history, in float64, for the last steps along the walls of the box."""


class Objective(Protocol):
    """Pixels in, (loss, gradient, parts) out; see `npstyle.engine.objective.StyleObjective`."""

    def __call__(self, pixels: Array, /) -> Evaluation:
        """Evaluate."""


@dataclass(frozen=True)
class Progress:
    """State of the search after an iteration, for a callback.

    Attributes
    ----------
    iteration, evaluations : int
        Steps taken and evaluations of the objective, so far.
    loss : float
        The objective at the current image.
    parts : dict
        Its weighted terms.
    current : float64 array (height, width, 3), 0..255
        The current image, on the device of the search.
    best : float64 array (height, width, 3), 0..255
        The image with the lowest loss so far. It is the current image unless the last step raised
        the loss.
    finished : callable
        Turns such an image, on the host, into the picture to show.
    to_host : callable
        Copies an image from the device of the search to the host.
    """

    iteration: int
    evaluations: int
    loss: float
    parts: dict[str, float]
    current: Array
    best: Array
    finished: Callable[[Array], Array] = np.asarray
    to_host: Callable[[Array], Array] = np.asarray

    @property
    def image(self) -> Array:
        """The current image, finished. Copy it to keep it."""
        return self.finished(self.to_host(self.current))

    @property
    def best_image(self) -> Array:
        """The image with the lowest loss so far, finished. Copy it to keep it."""
        return self.finished(self.to_host(self.best))


Stopped = Literal["iterations", "converged", "interrupted", "not finite"]


@dataclass(frozen=True)
class History:
    """A history for L-BFGS on the CPU, where memory is short.

    Attributes
    ----------
    count : int
        m, the number of steps that it holds.
    allocate : callable
        Makes the array that holds it, in memory or on disk; see `npstyle.engine.disk`.
    """

    count: int
    allocate: Allocate = in_memory


@dataclass(frozen=True)
class Result:
    """The best image found, and how the search ended.

    Attributes
    ----------
    image : float64 array (height, width, 3), 0..255
        The image with the lowest loss, on the host.
    loss : float
    parts : dict
        Its weighted terms.
    iterations, evaluations : int
    stopped : str
        "iterations" (all done), "converged" (no step lowers the loss any more), "interrupted"
        (Ctrl-C) or "not finite" (the loss or its gradient was NaN or infinite).
    """

    image: Array
    loss: float
    parts: dict[str, float]
    iterations: int
    evaluations: int
    stopped: Stopped


def optimize(
    objective: Objective | Callable[[Array], tuple[Any, ...]],
    image: Array,
    *,
    iterations: int,
    optimizer: Optimizer = "lbfgs",
    precondition: Colors | None = COLORS,
    adam_step: float = ADAM_STEP,
    history: History | None = None,
    callback: Callable[[Progress], None] | None = None,
    engine: ModuleType = cpu,
) -> Result:
    """Lower the objective from a starting image.

    Parameters
    ----------
    objective : callable
        Returns (loss, gradient) or (loss, gradient, parts) for pixels (height, width, 3), which it
        must not change. Pixels and gradient are arrays of the engine; `parts` are named terms.
    image : array (height, width, 3), 0..255
        Starting image; clipped to the box. It is not changed.
    iterations : int
        Number of steps; with 0 the objective is evaluated once. A step of L-BFGS-B usually takes
        one evaluation, and sometimes more.
    optimizer : "lbfgs", "scipy" or "adam"
    precondition : three floats or None
        "lbfgs" and "scipy" move the frequencies of the picture (`npstyle.maths.precondition`),
        with these factors g of the colours; with None its pixels. Adam always moves the pixels.
    adam_step : float
        Adam's step: about how far a pixel moves in one iteration, on the scale 0..255.
    history : History, optional
        For "lbfgs" on the CPU. If not given, it keeps a history of 16 steps in memory. With a
        history the search ends where it finds no step down: it does not go on with bounds, for
        which SciPy would need more memory.
    callback : callable, optional
        Called with a `Progress` after each iteration.
    engine : module
        Where to search: `npstyle.engine.cpu` or `npstyle.engine.cuda`.

    Returns
    -------
    Result
        Also after Ctrl-C: KeyboardInterrupt is caught, and `stopped` is "interrupted".
    """
    start = engine.place(image, np.float64)
    if start.min() < 0 or start.max() > PIXEL_MAX:
        start = np.clip(start, 0, PIXEL_MAX)
    recorder = Recorder(objective, start, callback, engine)

    def search() -> Stopped:
        if iterations == 0:
            recorder.evaluate(start.ravel())
            return "iterations"
        if optimizer == "adam":
            minimize_adam(
                recorder.evaluate,
                start.ravel(),
                iterations=iterations,
                step=adam_step,
                callback=recorder.step,
            )
            return "iterations"
        return _reflected(recorder, precondition, iterations, optimizer, history)

    return recorder.result(search)


class _NotFiniteError(Exception):
    """The loss or its gradient was NaN or infinite; ends the search from inside the optimiser."""


class Recorder:
    """Evaluates the objective for an optimiser and keeps the best image.

    Parameters
    ----------
    objective : callable
    image : array (height, width, 3), 0..255
        Kept until the first evaluation.
    callback : callable or None
        Called with a `Progress` after each iteration.
    engine : module
    """

    def __init__(
        self,
        objective: Objective | Callable[[Array], tuple[Any, ...]],
        image: Array,
        callback: Callable[[Progress], None] | None,
        engine: ModuleType,
    ) -> None:
        self.objective = objective
        self.callback = callback
        self.engine = engine
        self.shape = image.shape
        self.iteration = 0
        self.evaluations = 0
        self.image = self.best_image = image
        self.first_loss = self.best_loss = self.loss = float("nan")
        self.best_parts = self.parts = dict[str, float]()

    def evaluate(self, pixels: Array) -> tuple[float, Array]:
        """Return loss and gradient, in the pixels' shape: the image's, or flat.

        The caller must not change the pixels afterwards.
        """
        raise_if_interrupted()
        image = pixels.reshape(self.shape)
        evaluation = Evaluation.of(self.objective(image), self.shape)
        self.evaluations += 1
        # A sum is finite only if all its terms are, and it needs no second array.
        if not np.isfinite(evaluation.loss + np.sum(evaluation.gradient)):
            raise _NotFiniteError
        self.image, self.loss, self.parts = image, evaluation.loss, evaluation.parts
        if self.evaluations == 1:
            self.first_loss = evaluation.loss
        if self.evaluations == 1 or evaluation.loss < self.best_loss:
            self.best_image = image
            self.best_loss, self.best_parts = evaluation.loss, evaluation.parts
        return evaluation.loss, evaluation.gradient.reshape(pixels.shape)

    def step(self, _: Array) -> None:
        """Report a finished iteration. Its image is the one evaluated last."""
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
                    to_host=self.engine.to_host,
                )
            )

    def result(self, search: Callable[[], Stopped]) -> Result:
        """Run a search to its end, to Ctrl-C or to a loss that is not finite."""
        try:
            stopped = search()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except _NotFiniteError:
            stopped = "not finite"
        return Result(
            self.engine.to_host(self.best_image),
            self.best_loss,
            self.best_parts,
            self.iteration,
            self.evaluations,
            stopped,
        )


def _reflected(
    recorder: Recorder,
    precondition: Colors | None,
    iterations: int,
    optimizer: Optimizer,
    history: History | None,
) -> Stopped:
    """Search on reflected pixels, then with bounds if no step lowers the loss at a wall's kink."""
    engine = recorder.engine
    moved = coordinates(recorder.image, precondition, engine)
    loss, gradient = recorder.evaluate(recorder.image)
    gradient = moved.gradient(gradient)
    unit = first_step(loss, gradient)
    moved = moved.in_units(unit)

    def evaluate(w: Array) -> tuple[float, Array]:
        z = moved.pixels(w)
        loss, gradient = recorder.evaluate(engine.mirror(z))
        return loss, moved.gradient(engine.mirror_backward(gradient, z))

    reflected = knowing_start(evaluate, loss, unit * gradient)
    del gradient

    def on_host(w: Array) -> tuple[float, Array]:
        loss, gradient = reflected(engine.place(w))
        return loss, engine.to_host(gradient).astype(np.float64)

    def bounded(x: Array) -> tuple[float, Array]:
        loss, gradient = recorder.evaluate(engine.place(x.copy()))  # SciPy changes x later
        return loss, engine.to_host(gradient)

    if optimizer == "scipy":
        start = engine.to_host(moved.zeros()).astype(np.float64)
        _scipy(on_host, start, recorder, iterations)
    else:
        _in_place(reflected, moved.zeros(), recorder, iterations, history)
    if recorder.iteration < iterations and history is None:
        best = engine.to_host(recorder.best_image).ravel()
        _scipy(bounded, best, recorder, iterations, in_box=True)
    return "iterations" if recorder.iteration >= iterations else "converged"


def _in_place(
    function: Function,
    start: Array,
    recorder: Recorder,
    iterations: int,
    history: History | None,
) -> None:
    """Search by `npstyle.search.lbfgs`, on the device of the image."""
    corrections = CORRECTIONS if history is None else history.count
    basis = None
    if history is not None:
        shape = basis_shape(corrections, start.size)
        basis = history.allocate(shape, start.dtype, "the L-BFGS history")
    minimize_lbfgs(
        function,
        start,
        iterations=iterations,
        corrections=corrections,
        callback=recorder.step,
        basis=basis,
        engine=recorder.engine,
    )


def _scipy(
    function: Function,
    start: Array,
    recorder: Recorder,
    iterations: int,
    *,
    in_box: bool = False,
) -> None:
    """Search by SciPy's L-BFGS-B for the iterations that remain; inside 0..255 if in_box."""
    # Few searches need it, and it takes 20 MB.
    from scipy.optimize import Bounds, minimize

    minimize(
        function,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0.0, PIXEL_MAX) if in_box else None,
        callback=recorder.step,
        options={
            "maxcor": BOUNDED_CORRECTIONS if in_box else CORRECTIONS,
            "maxiter": iterations - recorder.iteration,
            # Only the number of iterations shall stop the search: the other rules are disabled.
            "maxfun": 100 * iterations,
            "ftol": 0.0,
            "gtol": 0.0,
        },
    )
