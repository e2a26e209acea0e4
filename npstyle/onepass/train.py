"""Train a feed-forward network for one style.

The formulas are in `npstyle.maths.training` and `npstyle.maths.adam`. The network's weights are a
list of layers with arrays, and Adam's m and v are dictionaries of the gradients' form. A step takes
layers, m and v, and returns new ones; nothing is changed in place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npstyle.engine.feedforward.passes import Gradients
from npstyle.engine.losses import Evaluation
from npstyle.engine.objective import StyleObjective
from npstyle.maths.adam import adam_direction
from npstyle.maths.array import Array
from npstyle.maths.checkerboard import checkerboard_loss, checkerboard_loss_backward
from npstyle.networks.style_layers import StyleLayer
from npstyle.networks.style_network import StyleNetwork
from npstyle.onepass.stylize import BoundStyleNetwork, bind_style_network, paint_backward_weights

RATE = 1e-3
"""Adam's rate after the warm-up."""

CELL = 4
"""P of `npstyle.maths.checkerboard`, in pixels: the network enlarges twice by 2."""

WINDOW = 32
"""Side of its windows, in pixels."""

WARM_UP = 50
"""Steps in which the rate grows to its full size."""


@dataclass(frozen=True)
class Training:
    """How far a training has come.

    Attributes
    ----------
    network : StyleNetwork
        With the current weights.
    mean, square : dict of dict of arrays
        Adam's m and v, by the name of a layer and of its array, in the precision of the weights.
    step : int
        Steps taken.
    """

    network: StyleNetwork
    mean: Gradients
    square: Gradients
    step: int


def new_training(network: StyleNetwork) -> Training:
    """Return the state before the first step."""
    zeros = {
        layer.name: {name: np.zeros_like(array) for name, array in weights_of(layer).items()}
        for layer in network.transformer
        if weights_of(layer)
    }
    return Training(network, zeros, zeros, 0)


def weights_of(layer: StyleLayer) -> dict[str, Array]:
    """Return the arrays of a layer that training changes, by their names in it."""
    names = ("kernel", "bias", "scale", "shift")
    return {name: getattr(layer, name) for name in names if hasattr(layer, name)}


def with_weights(network: StyleNetwork, weights: Gradients) -> StyleNetwork:
    """Return the network with other arrays, by the name of a layer and of its array."""
    layers = []
    for layer in network.transformer:
        arrays: dict[str, Any] = weights.get(layer.name, {})
        layers.append(replace(layer, **arrays))
    return replace(network, transformer=tuple(layers))


def batch_gradient(
    network: StyleNetwork,
    objective: StyleObjective,
    photos: Sequence[Array],
    checkerboard_weight: float = 0.0,
) -> tuple[Gradients, dict[str, float]]:
    """Return the gradient of the mean loss of a batch, and the mean of each term.

    Parameters
    ----------
    network : StyleNetwork
    objective : StyleObjective
        Its engine and its precision are also those of the network. Its content is that of the last
        photo afterwards.
    photos : sequence of arrays (height, width, 3), RGB, 0..255
        All of the objective's size.
    checkerboard_weight : float
        Weight of `npstyle.maths.checkerboard` in the loss.

    Returns
    -------
    gradients : dict of dict of arrays
    parts : dict
        As in `Evaluation.parts`, with "checkerboard" where it has a weight.
    """
    judge = objective.bound
    bound = bind_style_network(network, engine=judge.engine, dtype=judge.dtype)
    total: Gradients = {}
    parts: dict[str, float] = {}
    for photo in photos:
        gradients, found = _photo_gradient(bound, objective, photo, checkerboard_weight)
        for layer, arrays in gradients.items():
            sums = total.setdefault(layer, {})
            for name, gradient in arrays.items():
                sums[name] = sums.get(name, 0) + gradient / len(photos)
        for name, value in found.parts.items():
            parts[name] = parts.get(name, 0.0) + value / len(photos)
    return total, parts


def _photo_gradient(
    bound: BoundStyleNetwork, objective: StyleObjective, photo: Array, checkerboard_weight: float
) -> tuple[Gradients, Evaluation]:
    """The gradient of one photo's loss at the weights, and the loss of its picture."""
    objective.compare_with(photo)
    found = Evaluation(float("nan"), np.zeros(0), {})

    def upstream(picture: Array) -> Array:
        nonlocal found
        pixels = picture.astype(np.float64)
        found = objective(pixels)
        if checkerboard_weight:
            found = with_checkerboard(found, pixels, checkerboard_weight)
        return found.gradient

    _, gradients = paint_backward_weights(bound, upstream, photo)
    return gradients, found


def with_checkerboard(found: Evaluation, pixels: Array, weight: float) -> Evaluation:
    """Return the evaluation of a picture with the weighted term `checkerboard` added."""
    term = weight * float(checkerboard_loss(pixels, CELL, WINDOW))
    slope = weight * checkerboard_loss_backward(pixels, CELL, WINDOW)
    parts = {**found.parts, "checkerboard": term}
    return Evaluation(found.loss + term, found.gradient + slope, parts)


def adam_step(training: Training, gradients: Gradients, rate: float) -> Training:
    """Return the state after one step of Adam."""
    t = training.step + 1
    weights: Gradients = {}
    mean: Gradients = {}
    square: Gradients = {}
    for layer in training.network.transformer:
        for name, array in weights_of(layer).items():
            m, v = training.mean[layer.name][name], training.square[layer.name][name]
            g = gradients[layer.name][name].astype(array.dtype)
            m, v, direction = adam_direction(g, m, v, t)
            mean.setdefault(layer.name, {})[name] = m
            square.setdefault(layer.name, {})[name] = v
            weights.setdefault(layer.name, {})[name] = array - rate * direction
    return Training(with_weights(training.network, weights), mean, square, t)


def rate_at(step: int, steps: int | None) -> float:
    """Return Adam's rate at a step, from 1.

    It grows linearly during the warm-up, and then falls to 0 as a cosine.

    Parameters
    ----------
    step : int
    steps : int or None
        Of the whole training. It may be unknown during the warm-up.
    """
    if step <= WARM_UP or steps is None:
        return RATE * min(1.0, step / WARM_UP)
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (steps + 1 - WARM_UP)))
