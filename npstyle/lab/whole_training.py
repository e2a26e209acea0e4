"""The engine's steps of a training against the textbook's, in float64."""

import time
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.engine.bind import bind
from npstyle.engine.feedforward.passes import Gradients
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.lab.agreement import relative_error
from npstyle.lab.methods import Outcome
from npstyle.lab.pages import small_layers
from npstyle.lab.whole import judged, textbook_objective
from npstyle.maths.array import Array
from npstyle.maths.training import Judge
from npstyle.networks.johnson import transformer_layers
from npstyle.networks.network import Network
from npstyle.networks.style_network import StyleNetwork
from npstyle.onepass.train import (
    CELL,
    RATE,
    WINDOW,
    Training,
    adam_step,
    batch_gradient,
    new_training,
    weights_of,
    with_weights,
)

WIDTH = 4
"""Channels at full size: wide enough for Winograd's algorithm in most 3x3 convolutions."""

SIZE = (32, 36)
"""Height and width of the photos: one window of checkerboards, and columns beyond it."""

CHECKERBOARD_WEIGHT = 0.1
"""Weight of the checkerboards in the loss."""

LOSSES = Losses(
    content_layers={"conv2_1": 30.0}, style_layers={"conv1_1": 1.0, "conv2_1": 1.0}, tv_weight=1e-3
)
"""The losses at a small loss network."""


def untrained(width: int, rng: np.random.Generator) -> StyleNetwork:
    """Return a network in float64 whose scales, shifts and biases are random, too."""
    layers = transformer_layers(width, int(rng.integers(1 << 30)))
    network = StyleNetwork(
        "untrained", layers, (), 0, "RGB", (127.5,) * 3, (1 / 127.5,) * 3, 255.0, "", "", ""
    )
    return with_weights(
        network,
        {
            layer.name: {
                name: array + rng.normal(0, 0.1, array.shape)
                for name, array in weights_of(layer).items()
            }
            for layer in layers
        },
    )


def training_outcome(seed: int) -> Outcome:
    """Compare the mean loss of two photos, and its gradient at all weights together.

    Parameters
    ----------
    seed : int
        Of the networks and the pictures.
    """
    start, rng = time.perf_counter(), np.random.default_rng(seed)
    network = untrained(WIDTH, rng)
    judge = Network("small", tuple(small_layers(rng)), "BGR", (120.0,) * 3, (0.02,) * 3, False, "")
    *photos, painting = rng.uniform(0, 255, (3, *SIZE, 3))
    objective = StyleObjective(bind(judge, LOSSES.layers), photos[0], painting, LOSSES)
    found, parts = batch_gradient(network, objective, photos, CHECKERBOARD_WEIGHT)

    images = [maths.preprocess(x, "RGB", network.mean, network.scale) for x in photos]
    judges = [judging(textbook_objective(judge, photo, painting, LOSSES)) for photo in photos]
    layers = maths.conditioned(network.transformer, np.zeros(0))
    loss, right = maths.training_gradient(layers, images, judges, network.output_scale)
    errors = {
        "loss": relative_error(sum(parts.values()), loss),
        "gradient": relative_error(joined(found, right), joined(right, right)),
    }
    return judged("textbook", errors, "npstyle.maths.training", time.perf_counter() - start)


def judging(objective: Judge) -> Judge:
    """Return f_k of the training: an objective, and the weighted checkerboards."""

    def judge(picture: Array) -> tuple[Any, Array]:
        f, gradient = objective(picture)
        f = f + CHECKERBOARD_WEIGHT * maths.checkerboard_loss(picture, CELL, WINDOW)
        slope = maths.checkerboard_loss_backward(picture, CELL, WINDOW)
        return f, gradient + CHECKERBOARD_WEIGHT * slope

    return judge


def adam_outcome(seed: int) -> Outcome:
    """Compare all weights of a network after some steps from random gradients.

    Parameters
    ----------
    seed : int
        Of the network and the gradients.
    """
    start, rng = time.perf_counter(), np.random.default_rng(seed)
    training = new_training(untrained(1, rng))
    weights = weights_by_name(training)
    theta = joined(weights, weights)
    mean = square = np.zeros_like(theta)
    for t in range(1, 6):
        gradients = {
            layer: {name: rng.standard_normal(array.shape) for name, array in arrays.items()}
            for layer, arrays in weights.items()
        }
        training = adam_step(training, gradients, RATE)
        mean, square, d = maths.adam_direction(joined(gradients, weights), mean, square, t)
        theta = theta - RATE * d
    errors = {
        "weights": relative_error(joined(weights_by_name(training), weights), theta),
        "mean of the gradients": relative_error(joined(training.mean, weights), mean),
        "mean of their squares": relative_error(joined(training.square, weights), square),
    }
    return judged("textbook", errors, "npstyle.maths.adam", time.perf_counter() - start)


def weights_by_name(training: Training) -> Gradients:
    """Return the weights by the name of a layer and of its array."""
    found = {layer.name: weights_of(layer) for layer in training.network.transformer}
    return {layer: arrays for layer, arrays in found.items() if arrays}


def joined(arrays: Gradients, order: Gradients) -> Array:
    """Return all arrays in one vector, in the order of the second argument."""
    return np.concatenate(
        [arrays[layer][name].ravel() for layer, own in order.items() for name in own]
    )
