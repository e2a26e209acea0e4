"""How much memory a run takes, counted before it starts.

The engine's arrays are known from the network and the sizes of the pictures alone, so the count
walks through an evaluation as `passes.forward` and `passes.backward` do, and takes the largest
sum of what is alive at the same time.
"""

import math
from collections.abc import Collection

import numpy as np

from npstyle.network import Conv, FastConv, Network, Pool, Relu, shapes
from npstyle.ops import winograd
from npstyle.ops.conv import STRIP_BYTES
from npstyle.optimizers import CORRECTIONS
from npstyle.passes import is_made_again, stays
from npstyle.presets import Settings

Size = tuple[int, int]

LBFGS_VECTORS = 23
"""float64 pictures alive under L-BFGS-B besides its pairs (s, y): work vectors, copies."""

ADAM_VECTORS = 11
"""float64 pictures alive under Adam: x, g, m, v, their temporaries, the best picture."""


def forward_bytes(network: Network, wanted: Collection[str], size: Size) -> int:
    """Largest sum of arrays alive during `forward` when the tape is kept."""
    return _walk(network, wanted, size)[0]


def evaluation_bytes(network: Network, wanted: Collection[str], size: Size) -> int:
    """Largest sum of arrays alive during one evaluation, weights and targets aside."""
    return max(_walk(network, wanted, size))


def _walk(network: Network, wanted: Collection[str], size: Size) -> tuple[int, int]:
    """Peaks of the forward and of the backward pass.

    An activation is alive until the next layer has read it, longer if the tape keeps it: as an
    array for a loss or for max pooling, else as its gate, a byte for each value. On the way back,
    a layer's two gradients are alive beside the tape of the layers before it.
    """
    itemsize = network.dtype.itemsize
    depths = {network.depth(name) for name in wanted}
    kept = before = size[0] * size[1] * 3 * itemsize
    before_is_kept = True
    forward = backward = 0
    for index, (layer, shape) in enumerate(shapes(network, wanted, *size)):
        values = int(np.prod(shape))
        array = values * itemsize
        alive = kept if before_is_kept else kept + before
        if isinstance(layer, Relu) and is_made_again(network, index, depths):
            before_is_kept = False
        elif isinstance(layer, Relu):
            before_is_kept = stays(network, index, depths)
            kept += array if before_is_kept else values
            forward = max(forward, alive if before_is_kept else alive + values)
        else:
            before_is_kept = isinstance(layer, Pool) and layer.mode == "max"
            kept += array if before_is_kept else 0
            forward = max(forward, alive + array)
            gate = 0
            if isinstance(layer, Conv | FastConv):  # its gradient passes the gate of its ReLU
                gate = array if stays(network, index + 1, depths) else values
            backward = max(backward, kept + gate + before + array)
        before = array
    return forward, backward


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
    if settings.optimizer == "lbfgs":
        vectors = LBFGS_VECTORS + 2 * min(CORRECTIONS, settings.iterations)
    else:
        vectors = ADAM_VECTORS
    optimizer = vectors * photo[0] * photo[1] * 3 * 8
    evaluation = evaluation_bytes(network, wanted, photo)
    peak = max(
        forward_bytes(network, style, painting),
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
            tiles = math.prod(winograd.tile_count(height, width))
            values = winograd.WINDOW**2 * tiles * sum(layer.filters.shape[1:])
            whole = max(whole, values * layer.filters.itemsize)
        else:
            strip = max(strip, 2 * winograd.strip_bytes(layer.filters))
    return threads * strip + whole
