"""Compare float32 with float64, with and without the ReLU masks of float64.

Where the input of a ReLU is almost 0, rounding decides whether it is positive, and the gradient
jumps. With the same masks, two precisions can be compared without these jumps.

tools/exactness.py and tools/benchmark_gpu.py use this module, too.
"""

from typing import NamedTuple
from unittest import mock

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.passes import forward, rectified
from npstyle.engine.threads import use_threads
from npstyle.maths.layers import Pool, Relu
from npstyle.networks.network import configure
from npstyle.tiles.passes import tile_forward
from tests.numeric import relative_error


class Errors(NamedTuple):
    """Relative errors of loss and gradient, without and with float64's masks; masks that differ."""

    loss: float
    gradient: float
    gradient_with_masks: float
    other_masks: int
    units: int


def errors(objective, pixels, reference, right):
    """Errors of an objective against another's evaluation and masks."""
    found = objective(pixels)
    with_masks, others = evaluate_with_masks(objective, pixels, right)
    return Errors(
        abs(found.loss / reference.loss - 1),
        relative_error(found.gradient, reference.gradient),
        relative_error(with_masks.gradient, reference.gradient),
        others,
        sum(mask.size for mask in right.values()),
    )


def beside_float64(network, photo, painting, pixels, settings, fast=True, engine=cpu):
    """Errors of a route in float32 against plain float64."""
    exact = bind(configure(network, settings.pooling, np.float64))
    wanted = [*settings.content_layers, *settings.style_layers]
    network = configure(network, settings.pooling, np.float32)
    bound = bind(network, wanted, engine=engine, route="fast" if fast else "plain")
    with use_threads(physical_cores()):
        objective = StyleObjective(exact, photo, painting, settings.losses())
        reference, right = objective(pixels), relu_masks(objective, pixels)
        objective = StyleObjective(bound, photo, painting, settings.losses())
        return errors(objective, pixels, reference, right)


def relu_masks(objective, pixels):
    """The mask of each ReLU, by the index of its layer."""
    bound = objective.bound
    _, cache = objective.value(pixels)
    return {
        index: bound.engine.to_host(rectified(bound, cache, index)) > 0
        for index in range(len(cache.entries))
        if isinstance(bound.layers[index], Relu)
    }


def evaluate_with_masks(objective, pixels, imposed):
    """Evaluate the objective with these masks, and count the values where its own differ."""
    others = 0

    def forward_with_masks(bound, cache):
        nonlocal others
        yield from forward(bound, cache)
        for index, mask in imposed.items():
            own = bound.engine.to_host(rectified(bound, cache, index))
            others += np.count_nonzero((own > 0) != mask)
            cache.entries[index] = bound.engine.place(held_to(mask, own))

    with (
        mock.patch("npstyle.engine.objective.forward", forward_with_masks),
        mock.patch.object(objective, "replays", False),
    ):
        evaluation = objective(pixels)
    return evaluation, others


def evaluate_tiles_with_masks(objective, pixels, imposed):
    """Evaluate a `TiledObjective` with these masks of the whole picture."""
    layers = objective.bound.layers
    strides = np.cumprod([layer.stride if isinstance(layer, Pool) else 1 for layer in layers])

    def forward_with_masks(bound, image, tile, *rest):
        grams, contents, cache = tile_forward(bound, image, tile, *rest)
        for index in range(len(cache.entries)):
            if index in imposed:
                first = [span.start // strides[index] for span in tile.pixels]
                mask = imposed[index][first[0] :, first[1] :]
                own = rectified(bound, cache, index)
                cache.entries[index] = held_to(mask[: own.shape[0], : own.shape[1]], own)
        return grams, contents, cache

    with mock.patch("npstyle.tiles.passes.tile_forward", forward_with_masks):
        return objective(pixels)


def held_to(mask, own):
    """A cache entry of a ReLU, its mask or its output, changed to this mask."""
    if own.dtype == bool:
        return mask
    barely = np.finfo(own.dtype).tiny  # the least value above 0
    return np.where(mask, np.maximum(own, barely), 0).astype(own.dtype)
