"""On which side of every kink a network is: what tells a difference across one from a plain one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu import pooling as pool
from npstyle.engine.passes import Cache, rectified
from npstyle.maths.network import Pool, Relu
from npstyle.networks.network import Network

Array = NDArray[Any]


def kink_pattern(network: Network, cache: Cache) -> Array:
    """On which side of every kink a forward pass was: units active, winners of max pooling."""
    sides = [np.zeros(0, np.uint8)]
    for index, kept in enumerate(cache.entries):
        layer = network.layers[index]
        if isinstance(layer, Pool) and layer.mode == "max":
            sides.append(pool.max_pool2d_winners(kept[0], layer.size, layer.stride).ravel())
        elif isinstance(layer, Pool) and layer.mode == "l2":
            sides.append((kept[1] > 0).ravel().view(np.uint8))
        elif isinstance(layer, Relu):
            sides.append((rectified(network, cache, index) > 0).ravel().view(np.uint8))
    return np.concatenate(sides)
