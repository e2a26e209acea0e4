"""Improve a picture that one pass painted, by a search in the numbers that stand for its style.

A network paints y(v) from the photo. The numbers v are the style code, or the scales and shifts of
all conditional normalisations. The objective f of `npstyle.engine.objective` judges the picture
that would be written, which is clipped to the box 0..255:

    F(v) = f(clip(y(v)))        dF/dv = (dy/dv)^T [0 <= y <= 255] df/dx

`paint_backward_norms` multiplies by (dy/dv)^T, and L-BFGS (`npstyle.search.lbfgs`) lowers F.

The search of `npstyle.search.optimize` moves pixels and reflects them at the walls of the box,
since a clipped pixel has no derivative that leads it back. Here every number in v changes many
pixels, and those inside the box lead back the others. Besides, a reflected picture is not the one
that the network paints. The networks of the package end with a sigmoid and do not leave the box.

The first step of L-BFGS goes along the gradient, which depends on the units of v. The unit of a
layer's scales is their root mean square, and so is that of its shifts: then a step changes all
layers by similar shares. Measured with the built-in network at 256 pixels, the loss after 20 steps
was 30 to 34 % lower on three pairs than with equal units. The numbers of a code have equal units.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.feedforward.passes import Gradients, Norms
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.maths.conditional import ConditionalNorm, conditioned_backward
from npstyle.maths.layers import InstanceNorm
from npstyle.onepass.stylize import BoundStyleNetwork, paint_backward_norms
from npstyle.search.coordinates import Function, first_step, knowing_start
from npstyle.search.lbfgs import minimize_lbfgs
from npstyle.search.optimize import Objective, Progress, Recorder, Result, Stopped


@dataclass(frozen=True)
class StyleNumbers:
    """The numbers v that the search moves: an affine map from them to the normalisations.

    Attributes
    ----------
    start : float64 array (n,)
        v at the beginning.
    norms : callable
        Returns the normalisations for v, by name.
    gradient : callable
        Returns dL/dv, float64, of dL/dscale and dL/dshift by the name of the normalisation.
    """

    start: Array
    norms: Callable[[Array], Norms]
    gradient: Callable[[Gradients], Array]


def code_numbers(bound: BoundStyleNetwork, code: Array) -> StyleNumbers:
    """Return the style code (code,) as numbers to move."""
    start = np.asarray(code, np.float64)

    def gradient(found: Gradients) -> Array:
        at_code, _ = conditioned_backward(bound.network.transformer, start, found)
        return at_code

    return StyleNumbers(start, bound.norms, gradient)


def norm_numbers(bound: BoundStyleNetwork, code: Array) -> StyleNumbers:
    """Return all scales and shifts, at first those of a style code (code,), as numbers to move."""
    dtype = bound.transformer.dtype
    conditional = {n.name for n in bound.network.transformer if isinstance(n, ConditionalNorm)}
    first = [norm for name, norm in bound.norms(code).items() if name in conditional]
    parts = [array for norm in first for array in (norm.scale, norm.shift)]
    units = [_size(part) for part in parts]
    ends = np.cumsum([len(part) for part in parts])[:-1]

    def norms(v: Array) -> dict[str, InstanceNorm]:
        split = zip(units, np.split(v, ends), strict=True)
        arrays = [(unit * part).astype(dtype) for unit, part in split]
        pairs = zip(first, arrays[::2], arrays[1::2], strict=True)
        return {norm.name: replace(norm, scale=a, shift=b) for norm, a, b in pairs}

    def gradient(found: Gradients) -> Array:
        arrays = [found[norm.name][name] for norm in first for name in ("scale", "shift")]
        return np.concatenate([unit * g for unit, g in zip(units, arrays, strict=True)])

    split = zip(units, parts, strict=True)
    start = np.concatenate([part.astype(np.float64) / unit for unit, part in split])
    return StyleNumbers(start, norms, gradient)


def _size(values: Array) -> float:
    """Root mean square; 1 for zeros."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) or 1.0


@dataclass(frozen=True)
class Refinement:
    """A refined picture.

    Attributes
    ----------
    result : Result
        The picture with the lowest loss, float64, and how the search ended.
    loss_before : float
        Loss of the picture that one pass painted.
    """

    result: Result
    loss_before: float


def evaluate_style(
    bound: BoundStyleNetwork, photo: Array, numbers: StyleNumbers, function: Function, v: Array
) -> tuple[float, Array]:
    """Return F(v) and dF/dv.

    Parameters
    ----------
    bound : BoundStyleNetwork
    photo : array (height, width, 3), RGB, 0..255
    numbers : StyleNumbers
    function : callable
        Returns f and df/dx for the pixels x of the painted picture, float64 and flat.
    v : float64 array (n,)
    """
    loss = float("nan")

    def upstream(picture: Array) -> Array:
        nonlocal loss
        shown = np.clip(picture.astype(np.float64), 0, PIXEL_MAX)
        loss, gradient = function(shown.ravel())
        return gradient.reshape(shown.shape) * (shown == picture)

    _, found = paint_backward_norms(bound, upstream, photo, numbers.norms(v))
    return loss, numbers.gradient(found)


def refine(
    bound: BoundStyleNetwork,
    photo: Array,
    numbers: StyleNumbers,
    objective: Objective,
    *,
    iterations: int,
    callback: Callable[[Progress], None] | None = None,
) -> Refinement:
    """Lower the objective at the painted picture.

    Parameters
    ----------
    bound : BoundStyleNetwork
    photo : array (height, width, 3), RGB, 0..255
    numbers : StyleNumbers
        From `code_numbers` or `norm_numbers`.
    objective : callable
        Returns (loss, gradient, parts) for pixels of the photo's shape.
    iterations : int
        Steps of L-BFGS. A step takes one evaluation, and sometimes more.
    callback : callable, optional
        Called with a `Progress` after each step.

    Returns
    -------
    Refinement
        Also after Ctrl-C or a loss that is NaN or infinite. If that happens at the first
        evaluation, `result.parts` is empty and there is no picture.

    Raises
    ------
    InputError
        If the photo has less than 16 pixels on a side.
    """
    recorder = Recorder(objective, photo, callback, cpu)

    def evaluate(v: Array) -> tuple[float, Array]:
        return evaluate_style(bound, photo, numbers, recorder.evaluate, v)

    def search() -> Stopped:
        loss, gradient = evaluate(numbers.start)
        unit = first_step(loss, gradient)

        def scaled(w: Array) -> tuple[float, Array]:
            loss, gradient = evaluate(unit * w)
            return loss, unit * gradient

        function = knowing_start(scaled, loss, unit * gradient)
        minimize_lbfgs(
            function, numbers.start / unit, iterations=iterations, callback=recorder.step
        )
        return "iterations" if recorder.iteration >= iterations else "converged"

    result = recorder.result(search)
    return Refinement(result, recorder.first_loss)
