"""A network run forward and backward.

Forward, every layer turns the array before it into the next one; the activations asked for are
handed out by name. Backward, the chain rule walks the same list from its deepest layer up: at a
layer where a loss sits, the loss's gradient is added to what arrives from below,

    dL/dF^l = dE_l/dF^l + (dF^(l+1)/dF^l)^T dL/dF^(l+1)

and the layer's own backward function carries the sum on, until it stands at the image.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu.conv import conv2d, conv2d_backward
from npstyle.engine.cpu.padding import replicate, replicate_backward
from npstyle.engine.cpu.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.engine.cpu.relu import relu, relu_backward, relu_mask
from npstyle.engine.cpu.winograd import winograd_conv2d, winograd_conv2d_backward
from npstyle.engine.cuda import tensor_cores as gpu_tensor
from npstyle.networks.network import (
    Conv,
    Convolution,
    FastConv,
    Network,
    Pool,
    Relu,
    TensorConv,
    shapes,
)

T = TypeVar("T")
Array = NDArray[Any]

LossGradient = Callable[[Array, Array | None], Array]
"""From an activation, and from the gradient that arrives there from deeper layers if there are any:
the gradient with a loss's own derivative added. It may be written over."""


MANY_FILTERS = 32
"""A first convolution with this many is made again on the way back."""


@dataclass
class Cache:
    """What `forward` keeps for `backward`.

    Attributes
    ----------
    image : array (height, width, channels)
        The preprocessed picture.
    entries : list
        One per layer that ran. A convolution's is the shape of its input; a ReLU's, its output, or
        where that is positive, or None if `rectified` makes it again; a pooling layer's, its
        input or the shape of that, and its output if it is needed.
    depths : dict
        The names of the activations that were wanted, by layer.
    """

    image: Array
    entries: list[Any]
    depths: dict[int, str]


def forward(
    network: Network, image: Array, wanted: Mapping[str, Callable[[Array], T]]
) -> tuple[dict[str, T], Cache]:
    """Run the network as deep as the deepest activation that is wanted.

    Parameters
    ----------
    network : Network
    image : array (height, width, channels)
        The preprocessed picture.
    wanted : dict of functions
        By name of activation, what to take of it: each is called with the activation (height,
        width, channels) as soon as it is there, and must not change it.

    Returns
    -------
    taken : dict
        What the functions returned, by the same names.
    cache : Cache
        For `backward`. Drop it if no gradient is needed.

    Raises
    ------
    InputError
        If a name is unknown or the image is too small to reach the deepest layer.
    """
    depths = {network.depth(name): name for name in wanted}
    shapes(network, depths.values(), image.shape[0], image.shape[1])  # raises if too small
    cache = Cache(image, [], depths)
    taken: dict[str, T] = {}
    for index in range(max(depths, default=-1) + 1):
        layer = network.layers[index]
        before = image
        match layer:
            case Conv() | FastConv() | TensorConv():
                image = _convolve(network, index, before)
                cache.entries.append(before.shape)
            case Relu():
                if not _belongs_to_convolution(network, index):
                    image = relu(before)
                cache.entries.append(_relu_entry(network, index, image, depths))
            case Pool(mode="avg"):
                image = avg_pool2d(before, layer.size, layer.stride)
                cache.entries.append((before.shape, image if index in depths else None))
            case Pool():
                pool = max_pool2d if layer.mode == "max" else l2_pool2d
                image = pool(before, layer.size, layer.stride)
                cache.entries.append((before, image))
        if index in depths:
            taken[depths[index]] = wanted[depths[index]](image)
    return taken, cache


def backward(network: Network, cache: Cache, losses: dict[str, LossGradient]) -> Array:
    """Carry the gradients at several activations back to the image.

    Parameters
    ----------
    network : Network
    cache : Cache
        From `forward`. It is emptied: each entry is let go as soon as it has been used.
    losses : dict of functions
        By the names given to `forward`. Each is called once, the deepest with no gradient yet.

    Returns
    -------
    array (height, width, channels)
        The derivative with respect to the preprocessed picture.
    """
    gradient: Array | None = None
    gate: Array | None = None
    pooling = 1
    while cache.entries:
        index = len(cache.entries) - 1
        layer = network.layers[index]
        kept: Any = cache.entries[index]
        if isinstance(layer, Relu):
            kept = rectified(network, cache, index)
        cache.entries.pop()
        if index in cache.depths:
            activation = kept[1] if isinstance(layer, Pool) else kept
            gradient = losses[cache.depths[index]](activation, gradient)
            del activation
        if gradient is None:
            raise ValueError("backward: forward was asked for no activation, so nothing flows back")
        match layer:
            case Conv() | FastConv() | TensorConv():
                gradient = _convolve_backward(network, index, gradient, gate, pooling, kept)
                gate, pooling = None, 1
            case Relu() if _belongs_to_convolution(network, index):
                gate = kept
            case Relu():
                gradient = relu_backward(gradient, kept, out=gradient)
            case Pool(mode="avg") if _is_spread_by_convolution(network, index, cache.depths):
                pooling = layer.size
            case Pool(mode="avg"):
                gradient = avg_pool2d_backward(gradient, kept[0], layer.size, layer.stride)
            case Pool():
                pool_backward = max_pool2d_backward if layer.mode == "max" else l2_pool2d_backward
                gradient = pool_backward(gradient, kept[0], kept[1], layer.size, layer.stride)
        del kept
    if gradient is None:
        raise ValueError("backward: the cache is empty; every cache can be used once")
    return gradient


def rectified(network: Network, cache: Cache, index: int) -> Array:
    """What a cache knows of ReLU `index`: its output (height, width, channels), or its gate."""
    kept: Array | None = cache.entries[index]
    return _convolve(network, 0, cache.image) if kept is None else kept


def is_recomputed(network: Network, index: int, depths: Container[int]) -> bool:
    """Whether the cache leaves the output of ReLU `index` to be made again on the way back.

    The first convolution's is one of the two largest of all, and from an image of three channels it
    is soon made: in VGG-19 it takes 2 to 3 % of an evaluation's time and saves a fifth of its
    memory. A narrow network's memory is small, and there it would take longer.
    """
    if index != 1 or index not in depths or not _belongs_to_convolution(network, index):
        return False
    first = network.layers[0]
    return isinstance(first, Convolution) and len(first.bias) >= MANY_FILTERS


def stays(network: Network, index: int, depths: Container[int]) -> bool:
    """Whether the cache keeps the output of ReLU `index`, and not only its gate.

    A loss at it (its depth is in `depths`) and max or l2 pooling behind it need the whole array.
    """
    after = network.layers[index + 1 : index + 2]
    return index in depths or any(
        isinstance(layer, Pool) and layer.mode != "avg" for layer in after
    )


def _relu_entry(network: Network, index: int, image: Array, depths: Container[int]) -> Array | None:
    if is_recomputed(network, index, depths):
        return None
    return image if stays(network, index, depths) else relu_mask(image)


def _belongs_to_convolution(network: Network, index: int) -> bool:
    """Whether layer `index` is a ReLU right behind a convolution, which then does its work, too.

    Forward the convolution returns max(Z, 0); backward it reads dL/dF with the gate of F.
    """
    pair = network.layers[index - 1 : index + 1]
    return len(pair) == 2 and isinstance(pair[0], Convolution) and isinstance(pair[1], Relu)


def _is_spread_by_convolution(network: Network, index: int, depths: Container[int]) -> bool:
    """Whether the fast convolution before pooling `index` spreads the pooling's gradient, too.

    The gradient at the ReLU between them is then never written down; a loss there would need it.
    """
    before = network.layers[max(0, index - 2) : index]
    pool = network.layers[index]
    return (
        index - 1 not in depths
        and len(before) == 2
        and isinstance(before[0], FastConv | TensorConv)
        and isinstance(before[1], Relu)
        and isinstance(pool, Pool)
        and pool.size == pool.stride
    )


def _convolve(network: Network, index: int, image: Array) -> Array:
    """Run convolution `index`, and the ReLU behind it if there is one."""
    layer = network.layers[index]
    rectify = _belongs_to_convolution(network, index + 1)
    if isinstance(layer, FastConv):
        return winograd_conv2d(image, layer.filters, layer.bias, rectify=rectify)
    if isinstance(layer, TensorConv):
        way = layer.packed[0], layer.bias, layer.precision, layer.out_scale
        return gpu_tensor.conv2d(image, *way, rectify=rectify)
    assert isinstance(layer, Conv)
    padding = layer.padding
    if _continues_edges(network, index):
        image, padding = replicate(image, padding), 0
    return conv2d(image, layer.kernel, layer.bias, layer.stride, padding, rectify=rectify)


def _continues_edges(network: Network, index: int) -> bool:
    """Whether convolution `index` sees the edge's pixels beyond the picture, and not zeros."""
    return index == 0 and network.padding_mode == "replicate"


def _convolve_backward(
    network: Network,
    index: int,
    gradient: Array,
    gate: Array | None,
    pooling: int,
    shape: tuple[int, ...],
) -> Array:
    """dL/dX of a convolution, its ReLU, whose gate is given, and its pooling; X has this shape."""
    layer = network.layers[index]
    if isinstance(layer, FastConv):
        return winograd_conv2d_backward(gradient, layer.filters, gate, pooling)
    if isinstance(layer, TensorConv):
        gate = gate if gate is None or gate.dtype == np.bool_ else relu_mask(gate)
        way = layer.packed[1], gate, layer.channels, layer.precision, layer.out_scale
        return gpu_tensor.conv2d_backward(gradient, *way, pooling)
    assert isinstance(layer, Conv)
    if _continues_edges(network, index):
        p = layer.padding
        padded = (shape[0] + 2 * p, shape[1] + 2 * p, shape[2])
        return replicate_backward(
            conv2d_backward(gradient, layer.kernel, padded, layer.stride, 0, gate), p
        )
    return conv2d_backward(gradient, layer.kernel, shape, layer.stride, layer.padding, gate)
