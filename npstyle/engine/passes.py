"""A bound network run forward and backward.

The mathematics is that of `npstyle.maths.network`. This module saves time and memory:

- A ReLU after a convolution is part of the convolution: forward the convolution returns max(Z, 0),
  backward it applies the ReLU mask to the gradient that it reads. A fast convolution also
  distributes the gradient of an average pooling after its ReLU.
- The cache of the forward pass holds the mask of a ReLU, a byte per value, unless a loss or a max
  or l2 pooling needs its output. The first convolution's output is recomputed.
- Both passes are generators. They yield at each activation that has a loss, in order, so that the
  losses are computed while the array is there, and arrays are freed as early as possible. The
  caller deletes its own references (`del F`) before it asks for the next activation.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.layers import Convolution, FastConv, TensorConv
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv, Pool, Relu
from npstyle.networks.network import shapes

MANY_FILTERS = 32
"""Least number of filters with which the first convolution is recomputed on the way back."""


@dataclass
class Cache:
    """The results of the forward pass that the backward pass needs.

    Attributes
    ----------
    image : array (height, width, channels)
        The network's input.
    wanted : dict
        Names of the activations with a loss, by the index of their layer.
    entries : list
        One per layer that ran. A convolution's is the shape of its input. A ReLU's is its output,
        or its mask, or None if `rectified` recomputes it. A pooling layer's is its input, or the
        input's shape, and its output if it is needed.
    gradient : array (height, width, channels), optional
        dL/dX_0, once `backward` is exhausted.
    """

    image: Array
    wanted: dict[int, str]
    entries: list[Any] = field(default_factory=list)
    gradient: Array | None = None

    def take_gradient(self) -> Array:
        """Return `gradient` and drop the cache's reference to it."""
        taken, self.gradient = self.gradient, None
        assert taken is not None  # backward is exhausted
        return taken


def prepare(bound: BoundNetwork, image: Array, wanted: Iterable[str]) -> Cache:
    """Return the cache for a forward pass.

    Parameters
    ----------
    bound : BoundNetwork
    image : array (height, width, channels)
        The preprocessed picture, on the engine's device.
    wanted : names of activations
        Where `forward` and `backward` yield.

    Raises
    ------
    InputError
        If a name is unknown, or the image is too small to reach the deepest layer.
    """
    depths = {bound.network.depth(name): name for name in wanted}
    shapes(bound.network, depths.values(), image.shape[0], image.shape[1])
    return Cache(image, depths)


def forward(bound: BoundNetwork, cache: Cache) -> Iterator[tuple[str, Array]]:
    """Run the network as deep as the deepest wanted activation.

    Parameters
    ----------
    bound : BoundNetwork
    cache : Cache
        From `prepare`; it is filled.

    Yields
    ------
    name : str
        Of each wanted activation, in the order of the layers.
    activation : array (height, width, channels)
        It must not be changed.
    """
    engine, image, wanted = bound.engine, cache.image, cache.wanted
    for index in range(max(wanted, default=-1) + 1):
        layer = bound.layers[index]
        before = image
        match layer:
            case Relu():
                if not _belongs_to_convolution(bound, index):
                    image = engine.relu(before)
                cache.entries.append(_relu_entry(bound, index, image, wanted))
            case Pool(mode="avg"):
                image = engine.avg_pool2d(before, layer.size, layer.stride)
                cache.entries.append((before.shape, image if index in wanted else None))
            case Pool():
                pool = engine.max_pool2d if layer.mode == "max" else engine.l2_pool2d
                image = pool(before, layer.size, layer.stride)
                cache.entries.append((before, image))
            case _:
                image = _convolve(bound, index, before)
                cache.entries.append(before.shape)
        del before
        if index in wanted:
            yield wanted[index], image


def activations(bound: BoundNetwork, image: Array, wanted: Collection[str]) -> dict[str, Array]:
    """Return the wanted activations (height, width, channels) of an image by name."""
    found = dict(forward(bound, prepare(bound, image, wanted)))
    return {name: found[name] for name in wanted}


def backward(bound: BoundNetwork, cache: Cache) -> Iterator[tuple[str, Array, Array]]:
    """Propagate gradients from the activations back to the image.

    Parameters
    ----------
    bound : BoundNetwork
    cache : Cache
        From an exhausted `forward`. It is emptied: each entry is freed as soon as it has been used.
        When the iteration is over, `cache.gradient` holds the derivative with respect to the image.

    Yields
    ------
    name : str
        Of each wanted activation, from the deepest to the first.
    activation : array (height, width, channels)
    out : array (height, width, channels)
        The gradient that arrives from deeper layers. The caller adds its loss's derivative to it.

    Raises
    ------
    ValueError
        If the cache is empty.
    """
    if not cache.entries:
        raise ValueError("backward: the cache is empty; it can be used only once")
    engine = bound.engine
    gradient: Any = None
    mask: Array | None = None
    pooling = 1
    while cache.entries:
        index = len(cache.entries) - 1
        layer = bound.layers[index]
        kept: Any = cache.entries[index]
        if isinstance(layer, Relu):
            kept = rectified(bound, cache, index)
        cache.entries.pop()
        if index in cache.wanted:
            activation = kept[1] if isinstance(layer, Pool) else kept
            if gradient is None:
                gradient = engine.zeros_like(activation)
            yield cache.wanted[index], activation, gradient
            del activation
        match layer:
            case Relu() if _belongs_to_convolution(bound, index):
                mask = kept
            case Relu():
                gradient = engine.relu_backward(gradient, kept, out=gradient)
            case Pool(mode="avg") if _is_fused_with_convolution(bound, index, cache.wanted):
                pooling = layer.size
            case Pool(mode="avg"):
                gradient = engine.avg_pool2d_backward(gradient, kept[0], layer.size, layer.stride)
            case Pool():
                max_pooling = layer.mode == "max"
                pool = engine.max_pool2d_backward if max_pooling else engine.l2_pool2d_backward
                gradient = pool(gradient, kept[0], kept[1], layer.size, layer.stride)
            case _:
                gradient = _convolve_backward(bound, index, gradient, mask, pooling, kept)
                mask, pooling = None, 1
        del kept
    cache.gradient = gradient


def rectified(bound: BoundNetwork, cache: Cache, index: int) -> Array:
    """Return the output (height, width, channels) of ReLU `index`, or its mask."""
    kept: Array | None = cache.entries[index]
    return _convolve(bound, 0, cache.image) if kept is None else kept


def is_recomputed(bound: BoundNetwork, index: int, wanted: Container[int]) -> bool:
    """Whether the output of ReLU `index` is recomputed on the way back.

    The first convolution's output is one of the two largest arrays, and an image of three channels
    makes it cheap: in VGG-19 recomputing it takes 2 to 3 % of an evaluation's time and saves a
    fifth of its memory. In a narrow network it would take longer, and there is little memory to
    save.
    """
    if index != 1 or index not in wanted or not _belongs_to_convolution(bound, index):
        return False
    first = bound.layers[0]
    return isinstance(first, Convolution) and len(first.bias) >= MANY_FILTERS


def is_kept(bound: BoundNetwork, index: int, wanted: Container[int]) -> bool:
    """Whether the cache keeps the output of ReLU `index`, and not only its mask.

    A loss at it, or a max or l2 pooling after it, needs the whole array.
    """
    after = bound.layers[index + 1 : index + 2]
    return index in wanted or any(
        isinstance(layer, Pool) and layer.mode != "avg" for layer in after
    )


def _relu_entry(
    bound: BoundNetwork, index: int, image: Array, wanted: Container[int]
) -> Array | None:
    if is_recomputed(bound, index, wanted):
        return None
    mask: Array = image if is_kept(bound, index, wanted) else bound.engine.relu_mask(image)
    return mask


def _belongs_to_convolution(bound: BoundNetwork, index: int) -> bool:
    """Whether layer `index` is a ReLU directly after a convolution, which then computes it."""
    pair = bound.layers[index - 1 : index + 1]
    return len(pair) == 2 and isinstance(pair[0], Convolution) and isinstance(pair[1], Relu)


def _is_fused_with_convolution(bound: BoundNetwork, index: int, wanted: Container[int]) -> bool:
    """Whether the fast convolution before pooling `index` distributes the pooling's gradient.

    The gradient at the ReLU between them is then never stored. A loss there would need it.
    """
    before = bound.layers[max(0, index - 2) : index]
    pool = bound.layers[index]
    return (
        index - 1 not in wanted
        and len(before) == 2
        and isinstance(before[0], FastConv | TensorConv)
        and isinstance(before[1], Relu)
        and isinstance(pool, Pool)
        and pool.size == pool.stride
    )


def _convolve(bound: BoundNetwork, index: int, image: Array) -> Array:
    """Run convolution `index`, and the ReLU after it if there is one."""
    engine, layer = bound.engine, bound.layers[index]
    rectify = _belongs_to_convolution(bound, index + 1)
    Z: Array
    if isinstance(layer, FastConv):
        Z = engine.winograd_conv2d(image, layer.filters, layer.bias, rectify=rectify)
        return Z
    if isinstance(layer, TensorConv):
        options = layer.bias, layer.precision, layer.out_scale
        Z = engine.tensor_conv2d(image, layer.packed[0], *options, rectify=rectify)
        return Z
    assert isinstance(layer, Conv)
    padding = layer.padding
    if layer.padding_mode == "replicate":
        image, padding = engine.replicate_pad(image, padding), 0
    Z = engine.conv2d(image, layer.kernel, layer.bias, layer.stride, padding, rectify=rectify)
    return Z


def _convolve_backward(
    bound: BoundNetwork,
    index: int,
    upstream: Array,
    mask: Array | None,
    pooling: int,
    shape: tuple[int, ...],
) -> Array:
    """dL/dX, of this shape, of a convolution, its ReLU and its pooling."""
    engine, layer = bound.engine, bound.layers[index]
    gradient: Array
    if isinstance(layer, FastConv):
        gradient = engine.winograd_conv2d_backward(upstream, layer.filters, mask, pooling)
        return gradient
    if isinstance(layer, TensorConv):
        mask = mask if mask is None or mask.dtype == np.bool_ else engine.relu_mask(mask)
        options = layer.channels, layer.precision, layer.out_scale
        packed = layer.packed[1]
        gradient = engine.tensor_conv2d_backward(upstream, packed, mask, *options, pooling)
        return gradient
    assert isinstance(layer, Conv)
    kernel, stride, p = layer.kernel, layer.stride, layer.padding
    if layer.padding_mode == "replicate":
        padded = (shape[0] + 2 * p, shape[1] + 2 * p, shape[2])
        at_padded = engine.conv2d_backward(upstream, kernel, padded, stride, 0, mask)
        gradient = engine.replicate_pad_backward(at_padded, p)
        return gradient
    gradient = engine.conv2d_backward(upstream, kernel, shape, stride, p, mask)
    return gradient
