"""How much memory a run takes, counted before it starts.

The engine's arrays are known from the network and the sizes of the pictures alone, so the count
walks through an evaluation as `network.forward` and `network.backward` do, and takes the largest
sum of what is alive at the same time.
"""

from collections.abc import Collection

import numpy as np

from npstyle.network import Conv, FastConv, Network, Pool, shapes
from npstyle.ops import winograd
from npstyle.ops.conv import STRIP_BYTES
from npstyle.optimizers import CORRECTIONS
from npstyle.presets import Settings

Size = tuple[int, int]

LBFGS_VECTORS = 2 * CORRECTIONS + 19
"""float64 pictures alive under L-BFGS-B: the pairs (s, y), its work vectors, bounds, copies."""

ADAM_VECTORS = 14
"""float64 pictures alive under Adam: x, g, m, v, their temporaries, the best picture."""


def forward_bytes(network: Network, wanted: Collection[str], size: Size, itemsize: int) -> int:
    """Largest sum of arrays alive during `forward` when the tape is kept."""
    kept, before, peak = 0, size[0] * size[1] * 3, 0
    for layer, shape in shapes(network, wanted, *size):
        values = int(np.prod(shape))
        if isinstance(layer, Conv | FastConv | Pool):
            peak = max(peak, kept + before + values)
        keeps_input = isinstance(layer, Pool) and layer.mode == "max"
        kept += values if not isinstance(layer, Conv | FastConv | Pool) or keeps_input else 0
        before = values
    return peak * itemsize


def evaluation_bytes(network: Network, wanted: Collection[str], size: Size, itemsize: int) -> int:
    """Largest sum of arrays alive during one evaluation, weights and targets aside."""
    depths = {network.depth(name) for name in wanted}
    alive = [0]  # activations and losses' gradients kept up to each layer
    values = [size[0] * size[1] * 3]
    for index, (layer, shape) in enumerate(shapes(network, wanted, *size)):
        count = int(np.prod(shape))
        pool_kept = isinstance(layer, Pool) and layer.mode == "max"
        kept = count if pool_kept or not isinstance(layer, Conv | FastConv | Pool) else 0
        alive.append(alive[-1] + kept + (count if index in depths else 0))
        values.append(count)
    backward = max(
        alive[depth] + values[depth] + values[depth - 1] for depth in range(1, len(values))
    )
    return max(forward_bytes(network, wanted, size, itemsize), backward * itemsize)


def run_bytes(
    network: Network, settings: Settings, photo: Size, painting: Size, threads: int
) -> int:
    """Memory that a run adds, at its peak, to what the process holds before it, in bytes.

    Parameters
    ----------
    network : Network
        Already loaded, like the pictures: they are not counted here.
    settings : Settings
    photo, painting : (height, width)
        Sizes after scaling.
    threads : int
        Worker threads; each has a strip of columns of its own.
    """
    itemsize = network.dtype.itemsize
    wanted = [*settings.content_layers, *settings.style_layers]
    content, style = settings.content_layers, settings.style_layers
    content_shapes = [shape for _, shape in shapes(network, content, *photo)]
    targets = sum(int(np.prod(content_shapes[network.depth(name)])) for name in content)
    vectors = LBFGS_VECTORS if settings.optimizer == "lbfgs" else ADAM_VECTORS
    optimizer = vectors * photo[0] * photo[1] * 3 * 8
    evaluation = evaluation_bytes(network, wanted, photo, itemsize)
    peak = max(
        forward_bytes(network, style, painting, itemsize),
        targets * itemsize + optimizer + evaluation,
    )
    return peak + working_bytes(network, wanted, photo, threads)


def working_bytes(network: Network, wanted: Collection[str], size: Size, threads: int) -> int:
    """Memory that the convolutions work in: each thread's strips, a layer worked on as a whole."""
    strip, whole = STRIP_BYTES, 0
    for layer, shape in shapes(network, wanted, *size):
        if not isinstance(layer, FastConv):
            continue
        height, width = shape[:2]
        if winograd.few_tiles(height, width, layer.filters):
            tiles = -(-height // winograd.TILE) * -(-width // winograd.TILE)
            values = winograd.WINDOW**2 * tiles * sum(layer.filters.shape[1:])
            whole = max(whole, values * layer.filters.itemsize)
        else:
            strip = max(strip, 2 * winograd.strip_bytes(layer.filters))
    return threads * strip + whole
