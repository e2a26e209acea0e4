"""How much memory a run takes, counted before it starts.

The engine's arrays are known from the network and the sizes of the pictures alone, so the count
walks through an evaluation as `passes.forward` and `passes.backward` do, and takes the largest
sum of what is alive at the same time.
"""

import math
from collections.abc import Collection

import numpy as np

from npstyle.engine.cpu import winograd
from npstyle.engine.cpu.conv import STRIP_BYTES
from npstyle.engine.cpu.winograd import WINDOW
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.cuda import tensor_cores as gpu_tensor
from npstyle.engine.passes import is_recomputed, stays
from npstyle.engine.sizes import tile_count
from npstyle.errors import InputError
from npstyle.networks.network import (
    Convolution,
    FastConv,
    Layer,
    Network,
    Pool,
    Relu,
    TensorConv,
    shapes,
)
from npstyle.run.settings import Settings
from npstyle.tiles.cut import cell, largest_size

Size = tuple[int, int]


def forward_bytes(network: Network, wanted: Collection[str], size: Size) -> int:
    """Largest sum of arrays alive during `forward` when the cache is kept."""
    return _walk(network, wanted, size)[0]


def evaluation_bytes(network: Network, wanted: Collection[str], size: Size) -> int:
    """Largest sum of arrays alive during one evaluation, weights and targets aside."""
    return max(_walk(network, wanted, size))


def _walk(network: Network, wanted: Collection[str], size: Size) -> tuple[int, int]:
    """Peaks of the forward and of the backward pass.

    An activation is alive until the next layer has read it, longer if the cache keeps it: as an
    array for a loss or for max pooling, else as its gate, a byte for each value. On the way back,
    a layer's two gradients are alive beside the cache of the layers before it. What a convolution
    needs while it works on a layer as a whole comes on top; on a GPU, what its fast routes need,
    and the product of a style loss's derivative.
    """
    itemsize = network.dtype.itemsize
    depths = {network.depth(name) for name in wanted}
    kept = before = size[0] * size[1] * 3 * itemsize
    before_is_kept = True
    channels = 3
    forward = backward = 0
    for index, (layer, shape) in enumerate(shapes(network, wanted, *size)):
        values = int(np.prod(shape))
        array = values * itemsize
        alive = kept if before_is_kept else kept + before
        if isinstance(layer, Relu) and network.is_on_gpu and index in depths:
            backward = max(backward, kept + 3 * array)
        if isinstance(layer, Relu) and is_recomputed(network, index, depths):
            before_is_kept = False
        elif isinstance(layer, Relu):
            before_is_kept = stays(network, index, depths)
            kept += array if before_is_kept else values
            forward = max(forward, alive if before_is_kept else alive + values)
        else:
            before_is_kept = isinstance(layer, Pool) and layer.mode != "avg"
            kept += array if before_is_kept else 0
            gate = whole = 0
            if isinstance(layer, Convolution):  # its gradient passes the gate of its ReLU
                gate = array if stays(network, index + 1, depths) else values
            if network.is_on_gpu:
                whole = _on_gpu_bytes(layer, shape, channels)
            elif isinstance(layer, FastConv):
                whole = _whole_layer_bytes(layer, *shape[:2])
            forward = max(forward, alive + array + whole)
            backward = max(backward, kept + gate + before + array + whole)
        before, channels = array, shape[2]
    return forward, backward


def _on_gpu_bytes(layer: Layer, shape: tuple[int, int, int], channels: int) -> int:
    """What a layer's convolution on a GPU needs beside its input and output."""
    height, width, outputs = shape
    if isinstance(layer, FastConv):
        tiles = gpu.winograd_rows((height, width, channels), outputs) * tile_count(height, width)[1]
        return WINDOW**2 * tiles * (channels + outputs) * 4
    if isinstance(layer, TensorConv):
        parts = [
            gpu_tensor.parts(layer.precision, height, width, *ends) * ends[1]
            for ends in ((channels, outputs), (outputs, channels))
        ]
        return max(parts) * height * width * 4 + height * width * outputs  # and a gate
    return 0


def run_bytes(
    network: Network, settings: Settings, photo: Size, painting: Size, threads: int, vectors: int
) -> int:
    """Memory that a run adds, at its peak, to what the process holds before it, in bytes.

    Of the GPU's memory, if the network is there. CuPy's pool cannot use every gap between arrays; a
    quarter more than they fill is counted for that, as on the host.

    Parameters
    ----------
    network : Network
        Already loaded, like the pictures: they are not counted here.
    settings : Settings
    photo, painting : (height, width)
        Sizes after scaling.
    threads : int
        Worker threads; each has a strip of columns of its own.
    vectors : int
        Pictures of float64 that the search holds, `npstyle.search.optimize.vectors_held`.
    """
    style = settings.style_layers
    wanted = [*settings.content_layers, *style]
    targets = targets_bytes(network, settings, photo)
    search = vectors * photo[0] * photo[1] * 3 * 8
    evaluation = evaluation_bytes(network, wanted, photo)
    if network.is_on_gpu:
        painted = forward_bytes(network, style, painting)
        return targets + search + with_gaps(max(painted, evaluation))
    peak = max(
        forward_bytes(network, style, painting),
        targets + search + evaluation,
    )
    return peak + threads * strips_bytes(network, wanted, photo)


def targets_bytes(network: Network, settings: Settings, photo: Size) -> int:
    """Memory of the content's targets, for a photo of this height and width."""
    outputs = shapes(network, settings.content_layers, *photo)
    values = (math.prod(outputs[network.depth(name)][1]) for name in settings.content_layers)
    return sum(values) * network.dtype.itemsize


def with_gaps(size: int) -> int:
    """Memory of an arena for arrays that fill `size` bytes together: gaps remain between them."""
    return size + size // 4


def tile_bytes(network: Network, wanted: Collection[str], size: Size, tile: int) -> int:
    """Largest sum of arrays alive while one tile of a picture is evaluated.

    Weights, threads' strips (`strips_bytes`) and what is as large as the picture are not in it.

    Parameters
    ----------
    network : Network
    wanted : names of activations
    size : (height, width)
        Of the picture.
    tile : int
        As in `npstyle.tiles.cut.cut`, which says what it raises.
    """
    height, width = largest_size(network, wanted, size, tile)
    own_weights = height * width * network.dtype.itemsize  # of the first layer, see tile_passes
    return evaluation_bytes(network, wanted, (height, width)) + own_weights


def largest_tile(network: Network, wanted: Collection[str], size: Size, memory: int) -> int:
    """The largest tile whose evaluation fits the memory, in pixels without its halo.

    Parameters
    ----------
    network : Network
    wanted : names of activations
    size : (height, width)
        Of the picture.
    memory : int
        Bytes, for what `tile_bytes` counts and the gaps between the arrays.

    Raises
    ------
    InputError
        If not even the smallest tile fits.
    """

    def needed(tile: int) -> int:
        return with_gaps(tile_bytes(network, wanted, size, tile))

    C = cell(network, wanted)
    least = needed(C)
    if least > memory:
        raise InputError(
            f"--memory: {max(0, memory) / 1e6:.0f} MB are left for a tile, and the smallest, of "
            f"{C} pixels, takes {least / 1e6:.0f} MB; "
            f"allow {math.ceil((least - memory) / 1e6)} MB more"
        )
    # Tiles are as equal as can be along each side, so these are all the sizes that they can have.
    sides = [-(-length // C) for length in size]
    tiles = {-(-cells // count) * C for cells in sides for count in range(1, cells + 1)}
    return next(tile for tile in sorted(tiles, reverse=True) if needed(tile) <= memory)


def strips_bytes(network: Network, wanted: Collection[str], size: Size) -> int:
    """Memory for one thread's strips: it keeps what the largest needs."""
    most = STRIP_BYTES
    for layer, (height, width, _) in shapes(network, wanted, *size):
        if isinstance(layer, FastConv) and not winograd.few_tiles(height, width, layer.filters):
            most = max(most, 2 * winograd.strip_bytes(layer.filters))
    return most


def _whole_layer_bytes(layer: FastConv, height: int, width: int) -> int:
    """The transformed tiles and the products of a layer that is worked on as a whole."""
    if not winograd.few_tiles(height, width, layer.filters):
        return 0
    tiles = math.prod(tile_count(height, width))
    values: int = winograd.WINDOW**2 * tiles * sum(layer.filters.shape[1:])
    return values * layer.filters.itemsize
