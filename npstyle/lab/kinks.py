"""The side of every kink that a network is on, to detect a difference that crosses a kink."""

from collections.abc import Mapping, Sequence

import numpy as np

from npstyle import maths
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.passes import Cache, rectified
from npstyle.maths.array import Array
from npstyle.maths.layers import Layer, Pool, Relu, Relu6


def sides_of_layers(layers: Sequence[Layer], outputs: Mapping[str, Array]) -> Array:
    """Return the side of every kink that a run of the textbook's network was on.

    Parameters
    ----------
    layers : sequence of Layer
    outputs : dict of arrays
        From `npstyle.maths.network.forward`.

    Returns
    -------
    uint8 array (kinks,)
        For each ReLU the units above 0, for each ReLU6 also those at 6, for each max pooling the
        winners, for each l2 pooling the windows that are not all zeros.
    """
    sides = [np.zeros(0, np.uint8)]
    X = outputs["image"]
    for layer in layers:
        Y = outputs[layer.name]
        if isinstance(layer, Pool) and layer.mode == "max":
            sides.append(maths.max_pool2d_winners(X, layer.size, layer.stride).ravel())
        elif isinstance(layer, Relu) or (isinstance(layer, Pool) and layer.mode == "l2"):
            sides.append((Y > 0).ravel().view(np.uint8))
        elif isinstance(layer, Relu6):
            sides.append(((Y > 0).astype(np.uint8) + (Y >= 6)).ravel())
        X = Y
    return np.concatenate(sides)


def sides_of_bound(bound: BoundNetwork, cache: Cache) -> Array:
    """Return the same for a forward pass of the engine.

    Parameters
    ----------
    bound : BoundNetwork
        On the CPU.
    cache : Cache
        From an exhausted `npstyle.engine.passes.forward`, before any backward pass.
    """
    sides = [np.zeros(0, np.uint8)]
    for index, kept in enumerate(cache.entries):
        layer = bound.layers[index]
        if isinstance(layer, Pool) and layer.mode == "max":
            sides.append(maths.max_pool2d_winners(kept[0], layer.size, layer.stride).ravel())
        elif isinstance(layer, Pool) and layer.mode == "l2":
            sides.append((kept[1] > 0).ravel().view(np.uint8))
        elif isinstance(layer, Relu):
            sides.append((rectified(bound, cache, index) > 0).ravel().view(np.uint8))
    return np.concatenate(sides)
