"""The memory that an evaluation takes, counted before it starts.

The arrays follow from the network and the sizes of the pictures. The count walks through an
evaluation as `npstyle.engine.passes` does, and takes the largest sum of the arrays that exist at
the same time.
"""

import math
from collections.abc import Collection

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.layers import Convolution
from npstyle.engine.passes import is_kept, is_recomputed
from npstyle.maths.layers import Pool, Relu
from npstyle.networks.network import shapes

Size = tuple[int, int]
"""Height and width."""


def forward_bytes(bound: BoundNetwork, wanted: Collection[str], size: Size) -> int:
    """Largest sum of the arrays of a forward pass that keeps its cache, in bytes."""
    return _walk(bound, wanted, size)[0]


def evaluation_bytes(bound: BoundNetwork, wanted: Collection[str], size: Size) -> int:
    """Largest sum of the arrays of one evaluation, in bytes, without weights and targets.

    Parameters
    ----------
    bound : BoundNetwork
    wanted : names of activations
        The layers with a loss.
    size : (height, width)
        Of the picture.
    """
    return max(_walk(bound, wanted, size))


def _walk(bound: BoundNetwork, wanted: Collection[str], size: Size) -> tuple[int, int]:
    """Peaks of the forward and of the backward pass.

    An activation exists until the next layer has read it. The cache keeps it longer: as an array
    for a loss or for max pooling, else as its mask, a byte for each value. On the way back a
    layer's two gradients exist beside the cache of the layers before it. The engine's workspace for
    a layer comes on top, and on a GPU the product of a style loss's derivative.
    """
    itemsize = bound.dtype.itemsize
    depths = {bound.network.depth(name) for name in wanted}
    kept = before = size[0] * size[1] * 3 * itemsize
    before_is_kept = True
    channels = 3
    forward = backward = 0
    for index, (_, shape) in enumerate(shapes(bound.network, wanted, *size)):
        layer = bound.layers[index]
        values = math.prod(shape)
        array = values * itemsize
        alive = kept if before_is_kept else kept + before
        if isinstance(layer, Relu) and index in depths and bound.engine.LOSS_ARRAYS:
            backward = max(backward, kept + (2 + bound.engine.LOSS_ARRAYS) * array)
        if isinstance(layer, Relu) and is_recomputed(bound, index, depths):
            before_is_kept = False
        elif isinstance(layer, Relu):
            before_is_kept = is_kept(bound, index, depths)
            kept += array if before_is_kept else values
            forward = max(forward, alive if before_is_kept else alive + values)
        else:
            before_is_kept = isinstance(layer, Pool) and layer.mode != "avg"
            kept += array if before_is_kept else 0
            mask = 0
            if isinstance(layer, Convolution):  # its gradient passes the mask of its ReLU
                mask = array if is_kept(bound, index + 1, depths) else values
            whole = bound.engine.workspace_bytes(layer, shape, channels)
            forward = max(forward, alive + array + whole)
            backward = max(backward, kept + mask + before + array + whole)
        before, channels = array, shape[2]
    return forward, backward


def content_bytes(bound: BoundNetwork, content: Collection[str], size: Size) -> int:
    """Memory of the content targets P for a photo of this height and width, in bytes."""
    outputs = shapes(bound.network, content, *size)
    values = (math.prod(outputs[bound.network.depth(name)][1]) for name in content)
    return sum(values) * bound.dtype.itemsize


def guides_bytes(bound: BoundNetwork, style: Collection[str], size: Size) -> int:
    """Memory of one region's guides for a photo of this height and width, in bytes."""
    outputs = shapes(bound.network, style, *size)
    values = (math.prod(outputs[bound.network.depth(name)][1][:2]) for name in style)
    return sum(values) * bound.dtype.itemsize


def strips_bytes(bound: BoundNetwork, wanted: Collection[str], size: Size) -> int:
    """Memory of one thread's workspace, in bytes: as much as the largest strip needs."""
    outputs = enumerate(shapes(bound.network, wanted, *size))
    return max(
        (bound.engine.strip_bytes(bound.layers[k], shape) for k, (_, shape) in outputs), default=0
    )


def with_gaps(size: int) -> int:
    """Memory of an arena for arrays of `size` bytes together: gaps remain between them."""
    return size + size // 4
