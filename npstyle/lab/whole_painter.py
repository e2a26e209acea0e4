"""The engine's passes over a network that paints against the textbook's, in float64."""

import time

import numpy as np

from npstyle import maths
from npstyle.engine.feedforward.bind import bind_layers
from npstyle.engine.feedforward.passes import backward, forward, paint
from npstyle.lab.agreement import relative_error
from npstyle.lab.feedforward import small_painter
from npstyle.lab.methods import Outcome
from npstyle.lab.whole import judged
from npstyle.maths.layers import InstanceNorm

WIDTH = 16
"""Channels of the network: enough for the fast routes."""


def painter_outcome(seed: int) -> Outcome:
    """Compare the picture, and the gradients at the photo and at all weights together.

    Parameters
    ----------
    seed : int
        Of the network, the photo, the style code and the gradient at the picture.
    """
    start, rng = time.perf_counter(), np.random.default_rng(seed)
    layers = maths.conditioned(small_painter(rng, WIDTH), rng.standard_normal(2))
    x, last = rng.standard_normal((18, 14, 3)), layers[-1].name
    outputs = maths.forward(layers, x)
    g = rng.standard_normal(outputs[last].shape)
    arriving = maths.backward_everywhere(layers, outputs, {last: g})
    weights = maths.backward_weights(layers, outputs, arriving)

    bound = bind_layers(layers, dtype=np.float64)
    norms = {layer.name: layer for layer in layers if isinstance(layer, InstanceNorm)}
    picture, cache = forward(bound, x, norms, with_kernels=True)
    at_photo, found = backward(bound, cache, g, norms)
    places = [(layer, name) for layer, arrays in weights.items() for name in arrays]
    ours, right = (
        np.concatenate([gradients[layer][name].ravel() for layer, name in places])
        for gradients in (found, weights)
    )
    errors = {
        "picture": relative_error(paint(bound, x, norms), outputs[last]),
        "picture with its cache": relative_error(picture, outputs[last]),
        "gradient at the photo": relative_error(at_photo, arriving["image"]),
        "gradient at the weights": relative_error(ours, right),
    }
    return judged("textbook", errors, "npstyle.maths.network", time.perf_counter() - start)
