"""float32 beside float64, and the ReLU gates that set them apart.

Where a unit's value is all but 0, rounding decides whether its gate is open, and the gradient jumps
with it. Held to the same gates, two precisions can be compared without these jumps.

Also used by tools/exactness.py.
"""

from typing import NamedTuple
from unittest import mock

import numpy as np

from npstyle.engine.cuda.arrays import to_device, to_host
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import build_objective
from npstyle.engine.passes import forward, rectified
from npstyle.engine.threads import use_threads
from npstyle.networks.network import Pool, Relu, accelerate, configure
from npstyle.tiles.passes import tile_forward
from tests.numeric import relative_error


class Errors(NamedTuple):
    """Relative errors of loss and gradient, without and with float64's gates; gates that differ."""

    loss: float
    gradient: float
    gradient_with_gates: float
    other_gates: int
    units: int


def errors(objective, pixels, reference, right):
    """Errors of an objective against another's evaluation and gates."""
    found = objective(pixels)
    with_gates, others = evaluate_with_gates(objective, pixels, right)
    return Errors(
        abs(found.loss / reference.loss - 1),
        relative_error(found.gradient, reference.gradient),
        relative_error(with_gates.gradient, reference.gradient),
        others,
        sum(gate.size for gate in right.values()),
    )


def beside_float64(network, photo, painting, pixels, settings, fast=True):
    """Errors of a route in float32 against plain float64."""
    exact = configure(network, settings.pooling, np.float64)
    network = configure(network, settings.pooling, np.float32)
    if fast:
        network = accelerate(network, [*settings.content_layers, *settings.style_layers])
    with use_threads(physical_cores()):
        objective = build_objective(exact, photo, painting, settings)
        reference, right = objective(pixels), gates(objective, pixels)
        objective = build_objective(network, photo, painting, settings)
        return errors(objective, pixels, reference, right)


def gates(objective, pixels):
    """Where the units of each ReLU are active, by the ReLU's index."""
    _, cache = objective.value(pixels)
    return {
        index: to_host(rectified(objective.network, cache, index)) > 0
        for index in range(len(cache.entries))
        if isinstance(objective.network.layers[index], Relu)
    }


def evaluate_with_gates(objective, pixels, imposed):
    """The objective's evaluation with these gates, and how many of its own were others."""
    others = 0

    def forward_with_gates(network, image, wanted):
        nonlocal others
        taken, cache = forward(network, image, wanted)
        for index, gate in imposed.items():
            own = to_host(rectified(network, cache, index))
            others += np.count_nonzero((own > 0) != gate)
            gate = held_to(gate, own)
            cache.entries[index] = to_device(gate) if network.is_on_gpu else gate
        return taken, cache

    with (
        mock.patch("npstyle.engine.objective.forward", forward_with_gates),
        mock.patch.object(objective, "replays", False),
    ):
        evaluation = objective(pixels)
    return evaluation, others


def evaluate_tiles_with_gates(objective, pixels, imposed):
    """A `TiledObjective`'s evaluation with these gates of the whole picture."""
    layers = objective.network.layers
    strides = np.cumprod([layer.stride if isinstance(layer, Pool) else 1 for layer in layers])

    def forward_with_gates(network, image, tile, *rest):
        grams, contents, cache = tile_forward(network, image, tile, *rest)
        for index in range(len(cache.entries)):
            if index in imposed:
                first = [span.start // strides[index] for span in tile.pixels]
                gate = imposed[index][first[0] :, first[1] :]
                own = rectified(network, cache, index)
                cache.entries[index] = held_to(gate[: own.shape[0], : own.shape[1]], own)
        return grams, contents, cache

    with mock.patch("npstyle.tiles.passes.tile_forward", forward_with_gates):
        return objective(pixels)


def held_to(gate, own):
    """What a cache knows of a ReLU, its gate or its output, with this gate."""
    if own.dtype == bool:
        return gate
    barely = np.finfo(own.dtype).tiny  # an activation is moved across 0, but hardly
    return np.where(gate, np.maximum(own, barely), 0).astype(own.dtype)
