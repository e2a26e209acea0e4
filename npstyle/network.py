"""A convolutional network as a plain list of layers, run forward and backward.

Forward, every layer turns the array before it into the next one; the activations asked for are
handed out by name. Backward, the chain rule walks the same list from its deepest layer up: at a
layer where a loss sits, the loss's gradient is added to what arrives from below,

    dL/dF^l = dE_l/dF^l + (dF^(l+1)/dF^l)^T dL/dF^(l+1)

and the layer's own backward function carries the sum on, until it stands at the image.

An activation is named after its convolution and means the values after the ReLU: "conv4_2" and
"relu4_2" are one and the same, as in the paper. "pool1" is the output of a pooling layer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npstyle.architecture import ConvSpec, PoolSpec
from npstyle.errors import InputError
from npstyle.ops.conv import conv2d, conv2d_backward, output_size
from npstyle.ops.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    pooled_size,
)
from npstyle.ops.relu import relu, relu_backward
from npstyle.ops.winograd import (
    transform_filters,
    winograd_conv2d,
    winograd_conv2d_backward,
)
from npstyle.weights import Weights, default_weights, find_weights, load_weights

Array = NDArray[Any]
Pooling = Literal["avg", "max"]

LossGradient = Callable[[Array | None], Array]
"""Adds a loss's derivative at an activation to what arrives there from deeper layers, if any."""

WIDE = 64 * 64
"""Channels in times channels out from which a convolution takes the fast route."""


@dataclass(frozen=True)
class Conv:
    """A convolution: weight (kernel height, kernel width, channels in, out), bias (out,).

    `filters` (36, channels in, out) are the weights for the fast route, where it serves the layer;
    see `npstyle.ops.winograd`.
    """

    name: str
    weight: Array
    bias: Array
    stride: int
    padding: int
    filters: Array | None = None


@dataclass(frozen=True)
class Relu:
    """A rectifier."""

    name: str


@dataclass(frozen=True)
class Pool:
    """A pooling layer: window `size` x `size`, step `stride`."""

    name: str
    size: int
    stride: int
    mode: Pooling


Layer = Conv | Relu | Pool


@dataclass(frozen=True)
class Network:
    """The layers in order, and how a picture becomes their input.

    The input is (pixels - mean) * scale with the pixels 0..255 in `channel_order`.
    """

    name: str
    layers: tuple[Layer, ...]
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    normalized: bool
    sha256: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type the weights are kept in; a picture is brought to it."""
        return next(layer.weight.dtype for layer in self.layers if isinstance(layer, Conv))

    def activations(self) -> dict[int, str]:
        """Name of each activation, by the index of the layer that it comes out of."""
        names = {}
        for index, layer in enumerate(self.layers):
            before = self.layers[index - 1] if index else None
            if isinstance(layer, Relu) and isinstance(before, Conv):
                names[index] = before.name
            elif isinstance(layer, Pool):
                names[index] = layer.name
        return names

    def depth(self, name: str) -> int:
        """Index of the layer that an activation comes out of.

        Raises
        ------
        InputError
            If the network has no such activation.
        """
        names = self.activations()
        for index, own in names.items():
            if name in (own, self.layers[index].name):
                return index
        known = ", ".join(names.values())
        raise InputError(f"layer {name}: network {self.name} has none of this name; it has {known}")

    def canonical(self, name: str) -> str:
        """The one name of an activation: "conv4_2" for "relu4_2" too; raises as `depth` does."""
        return self.activations()[self.depth(name)]


@dataclass
class Tape:
    """What `forward` keeps for `backward`: one entry per layer that ran."""

    entries: list[Any]
    depths: dict[int, str]


def network_from_weights(weights: Weights) -> Network:
    """Build the list of layers from what a weights file holds.

    Parameters
    ----------
    weights : Weights
        Kernels (out, in, kernel height, kernel width), as the file keeps them.

    Returns
    -------
    Network
        In float32, with average pooling; see `configure`.
    """
    layers: list[Layer] = []
    for spec in weights.layers:
        if isinstance(spec, ConvSpec):
            kernel = weights.tensors[f"{spec.name}.weight"].transpose(2, 3, 1, 0)
            bias = weights.tensors[f"{spec.name}.bias"]
            layers.append(
                Conv(
                    spec.name,
                    np.ascontiguousarray(kernel, np.float32),
                    bias.astype(np.float32),
                    spec.stride,
                    spec.padding,
                )
            )
        elif isinstance(spec, PoolSpec):
            layers.append(Pool(spec.name, spec.size, spec.stride, "avg"))
        else:
            layers.append(Relu(spec.name))
    return Network(
        weights.name,
        tuple(layers),
        weights.channel_order,
        weights.mean,
        weights.scale,
        weights.normalized,
        weights.sha256,
    )


def configure(network: Network, pooling: Pooling, dtype: DTypeLike = np.float32) -> Network:
    """The same network with another way of pooling and in another precision.

    Parameters
    ----------
    network : Network
    pooling : "avg" or "max"
        How every pooling layer pools. The paper found average pooling to look better.
    dtype : float dtype
        The engine's precision.
    """
    layers: list[Layer] = []
    for layer in network.layers:
        match layer:
            case Conv():
                weight, bias = layer.weight.astype(dtype, copy=False), layer.bias.astype(dtype)
                layers.append(replace(layer, weight=weight, bias=bias))
            case Pool():
                layers.append(replace(layer, mode=pooling))
            case Relu():
                layers.append(layer)
    return replace(network, layers=tuple(layers))


def accelerate(network: Network, wanted: Iterable[str]) -> Network:
    """The same network with the fast route for its wide 3x3 convolutions.

    Parameters
    ----------
    network : Network
        In any precision; the fast route is meant for float32.
    wanted : names of activations
        Layers deeper than these are left alone: they will not run.

    Returns
    -------
    Network
        Equal to `network` up to rounding.
    """
    depth = max(map(network.depth, wanted), default=-1)
    layers = [
        replace(layer, filters=transform_filters(layer.weight))
        if index <= depth and isinstance(layer, Conv) and _suits_winograd(layer)
        else layer
        for index, layer in enumerate(network.layers)
    ]
    return replace(network, layers=tuple(layers))


def _suits_winograd(layer: Conv) -> bool:
    """3x3, and wide enough for the products to outweigh the transforms."""
    kernel, channels = layer.weight.shape[:2], layer.weight.shape[2:]
    wide = channels[0] * channels[1] >= WIDE
    return (*kernel, layer.stride, layer.padding) == (3, 3, 1, 1) and wide


def load_network(name: str | Path | None = None) -> Network:
    """Load a network from a weights file.

    Parameters
    ----------
    name : str or Path, optional
        A file, or a name found in `weights/` or the user's data directory. Without one, VGG-19
        where it is installed, else the small built-in network.

    Returns
    -------
    Network
        In float32, with average pooling; see `configure`.

    Raises
    ------
    InputError
        If there is no such file, or it is no valid weights file.
    """
    path = default_weights() if name is None else find_weights(str(name))
    return network_from_weights(load_weights(path))


def forward(network: Network, image: Array, wanted: Iterable[str]) -> tuple[dict[str, Array], Tape]:
    """Run the network as deep as the deepest activation that is wanted.

    Parameters
    ----------
    network : Network
    image : array (height, width, channels)
        The preprocessed picture.
    wanted : names of activations

    Returns
    -------
    activations : dict of arrays (height, width, channels)
        By the names asked for. They are also what `backward` needs: do not change them before.
    tape : Tape
        For `backward`. Drop it if no gradient is needed.

    Raises
    ------
    InputError
        If a name is unknown or the image is too small to reach the deepest layer.
    """
    depths = {network.depth(name): name for name in wanted}
    shapes(network, depths.values(), image.shape[0], image.shape[1])  # raises if too small
    activations: dict[str, Array] = {}
    entries: list[Any] = []
    for index in range(max(depths, default=-1) + 1):
        layer = network.layers[index]
        before = image
        match layer:
            case Conv() if layer.filters is not None:
                rectify = _takes_relu(network, index + 1)
                image = winograd_conv2d(before, layer.filters, layer.bias, rectify=rectify)
                entries.append(before.shape)
            case Conv():
                image = conv2d(before, layer.weight, layer.bias, layer.stride, layer.padding)
                entries.append(before.shape)
            case Relu():
                if not _takes_relu(network, index):
                    # A pre-activation is nobody else's, so its rectifier may write over it.
                    after_conv = index > 0 and isinstance(network.layers[index - 1], Conv)
                    image = relu(before, out=before if after_conv else None)
                entries.append(image)
            case Pool(mode="avg"):
                image = avg_pool2d(before, layer.size, layer.stride)
                entries.append(before.shape)
            case Pool():
                image = max_pool2d(before, layer.size, layer.stride)
                entries.append((before, image))
        if index in depths:
            activations[depths[index]] = image
    return activations, Tape(entries, depths)


def backward(network: Network, tape: Tape, losses: dict[str, LossGradient]) -> Array:
    """Carry the gradients at several activations back to the image.

    Parameters
    ----------
    network : Network
    tape : Tape
        From `forward`. It is emptied: each entry is let go as soon as it has been used.
    losses : dict of functions
        By the names given to `forward`. Each is called once, with the gradient (height, width,
        channels) that arrives at its activation from deeper layers, or None at the deepest, and
        returns it with the loss's own derivative added; it may write over what it is given. The
        dict is emptied, so that each function is let go as soon as it has been used.

    Returns
    -------
    array (height, width, channels)
        The derivative with respect to the preprocessed picture.
    """
    gradient: Array | None = None
    gate: Array | None = None
    while tape.entries:
        index = len(tape.entries) - 1
        layer = network.layers[index]
        if index in tape.depths:
            gradient = losses.pop(tape.depths[index])(gradient)
        if gradient is None:
            raise ValueError("backward: forward was asked for no activation, so nothing flows back")
        kept = tape.entries.pop()
        match layer:
            case Conv() if layer.filters is not None:
                gradient = winograd_conv2d_backward(gradient, layer.filters, gate)
                gate = None
            case Conv():
                gradient = conv2d_backward(
                    gradient, layer.weight, kept, layer.stride, layer.padding
                )
            case Relu() if _takes_relu(network, index):
                gate = kept
            case Relu():
                gradient = relu_backward(gradient, kept, out=gradient)
            case Pool(mode="avg"):
                gradient = avg_pool2d_backward(gradient, kept, layer.size, layer.stride)
            case Pool():
                gradient = max_pool2d_backward(gradient, kept[0], kept[1], layer.size, layer.stride)
        del kept
    if gradient is None:
        raise ValueError("backward: the tape is empty; every tape can be used once")
    return gradient


def _takes_relu(network: Network, index: int) -> bool:
    """Whether layer `index` is a ReLU that the convolution before it does along, on its fast route.

    Forward the convolution writes max(Z, 0); backward it reads dL/dF with the gate of F.
    """
    if not 0 < index < len(network.layers) or not isinstance(network.layers[index], Relu):
        return False
    before = network.layers[index - 1]
    return isinstance(before, Conv) and before.filters is not None


def shapes(
    network: Network, wanted: Iterable[str], height: int, width: int
) -> list[tuple[Layer, tuple[int, int, int]]]:
    """Each layer that `forward` would run for a picture of this size, with its output's shape.

    Raises
    ------
    InputError
        If the picture is too small for the deepest wanted activation.
    """
    result: list[tuple[Layer, tuple[int, int, int]]] = []
    shape = (height, width, 3)
    for index in range(max(map(network.depth, wanted), default=-1) + 1):
        layer = network.layers[index]
        try:
            if isinstance(layer, Conv):
                size = output_size(shape, layer.weight.shape, layer.stride, layer.padding)
                shape = (*size, layer.weight.shape[3])
            elif isinstance(layer, Pool):
                shape = (*pooled_size(shape, layer.size, layer.stride), shape[2])
        except ValueError as error:
            raise InputError(
                f"a picture of {width}x{height} pixels is too small for layer {layer.name} of "
                f"network {network.name}; use a larger --size or a shallower layer"
            ) from error
        result.append((layer, shape))
    return result
