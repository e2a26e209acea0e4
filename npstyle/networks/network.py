"""A convolutional network as a plain list of layers.

An activation is named after its convolution and means the values after the ReLU: "conv4_2" and
"relu4_2" are one and the same, as in the paper. "pool1" is the output of a pooling layer. The
layers are run by `npstyle.engine.passes`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npstyle.engine.cpu.winograd import transform_filters
from npstyle.engine.cuda import arrays as card
from npstyle.engine.cuda import tensor_cores as gpu_tensor
from npstyle.engine.cuda.tensor_cores import TensorPrecision
from npstyle.engine.sizes import output_size, pooled_size
from npstyle.engine.threads import on_gpu
from npstyle.errors import InputError
from npstyle.networks.architecture import ConvSpec, PoolSpec
from npstyle.networks.weights import Weights, default_weights, find_weights, load_weights

Array = NDArray[Any]
Pooling = Literal["avg", "max", "l2"]
PaddingMode = Literal["zero", "replicate"]

WIDE = 16 * 16
"""Channels in times channels out from which a convolution takes the fast route."""


@dataclass(frozen=True)
class Conv:
    """A convolution: weight (kernel height, kernel width, channels in, out), bias (out,)."""

    name: str
    kernel: Array
    bias: Array
    stride: int
    padding: int


@dataclass(frozen=True)
class FastConv:
    """A convolution 3x3, stride 1, padding 1 by the fast route, with the ReLU behind it if any.

    The weights are there only as filters (36, channels in, out); see `npstyle.engine.cpu.winograd`.
    """

    name: str
    filters: Array
    bias: Array


@dataclass(frozen=True)
class TensorConv:
    """A convolution like `FastConv`'s on a GPU's tensor cores.

    `packed` holds the filters for the way forward, and for the way back; what went into them was
    multiplied by 1 / `out_scale`. See `npstyle.engine.cuda.tensor_cores`.
    """

    name: str
    packed: tuple[Array, Array]
    bias: Array
    channels: int
    precision: TensorPrecision
    out_scale: float


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


Convolution = Conv | FastConv | TensorConv
Layer = Convolution | Relu | Pool


@dataclass(frozen=True)
class Network:
    """The layers in order, and how a picture becomes their input.

    The input is (pixels - mean) * scale with the pixels 0..255 in `channel_order`. `padding_mode` says
    what the first convolution sees beyond the picture: zeros, or the pixel at the edge.
    """

    name: str
    layers: tuple[Layer, ...]
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    normalized: bool
    sha256: str
    padding_mode: PaddingMode = "zero"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type the weights are kept in; a picture is brought to it."""
        return next(layer.bias.dtype for layer in self.layers if isinstance(layer, Convolution))

    @property
    def is_on_gpu(self) -> bool:
        """Whether its numbers are on a GPU, and its activations will be."""
        return any(on_gpu(layer.bias) for layer in self.layers if isinstance(layer, Convolution))

    def activations(self) -> dict[int, str]:
        """Name of each activation, by the index of the layer that it comes out of."""
        names = {}
        for index, layer in enumerate(self.layers):
            before = self.layers[index - 1] if index else None
            if isinstance(layer, Relu) and isinstance(before, Convolution):
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


def configure(
    network: Network,
    pooling: Pooling,
    dtype: DTypeLike = np.float32,
    padding_mode: PaddingMode = "zero",
) -> Network:
    """The same network with another way of pooling, of padding, and in another precision.

    Parameters
    ----------
    network : Network
    pooling : "avg", "max" or "l2"
        How every pooling layer pools. The paper found average pooling to look better.
    dtype : float dtype
        The engine's precision.
    padding_mode : "zero" or "replicate"
        What the first convolution sees beyond the picture.

    Raises
    ------
    InputError
        If the network has been through `accelerate`: its weights are no longer there.
    """
    layers: list[Layer] = []
    for layer in network.layers:
        match layer:
            case Conv():
                weight, bias = layer.kernel.astype(dtype, copy=False), layer.bias.astype(dtype)
                layers.append(replace(layer, kernel=weight, bias=bias))
            case Pool():
                layers.append(replace(layer, mode=pooling))
            case FastConv() | TensorConv():
                raise InputError(
                    f"network {network.name} has been accelerated already; "
                    "give it as load_network returned it"
                )
            case Relu():
                layers.append(layer)
    return replace(network, layers=tuple(layers), padding_mode=padding_mode)


def accelerate(network: Network, wanted: Iterable[str]) -> Network:
    """The same network with the fast route for its wide 3x3 convolutions.

    Parameters
    ----------
    network : Network
        In any precision; the fast route is meant for float32.
    wanted : names of activations
        Layers deeper than these are left out: they would not run.

    Returns
    -------
    Network
        Equal to `network`, as deep as it goes, up to rounding.
    """
    return _changed(
        network, wanted, lambda c: FastConv(c.name, transform_filters(c.kernel), c.bias)
    )


def to_tensor_cores(
    network: Network, wanted: Iterable[str], precision: Literal["tf32", "fp16"]
) -> Network:
    """The same network with a GPU's tensor cores for its wide 3x3 convolutions.

    Parameters
    ----------
    network : Network
        In float32.
    wanted : names of activations
        Layers deeper than these are left out: they would not run.
    precision : "tf32" or "fp16"
        What values are rounded to before they are multiplied; sums are float32.

    Returns
    -------
    Network
        These convolutions are on the GPU; see `to_device` for the others.
    """
    kind: TensorPrecision = "float16" if precision == "fp16" else "tf32"

    def packed(layer: Conv) -> TensorConv:
        filters, out_scale = gpu_tensor.pack_filters(layer.kernel, kind)
        bias, channels = card.to_device(layer.bias), layer.kernel.shape[2]
        return TensorConv(layer.name, filters, bias, channels, kind, out_scale)

    return _changed(network, wanted, packed)


def _changed(
    network: Network, wanted: Iterable[str], change: Callable[[Conv], Convolution]
) -> Network:
    """The network as deep as it must be, its wide 3x3 convolutions changed."""
    layers: list[Layer] = []
    for index, layer in enumerate(
        network.layers[: max(map(network.depth, wanted), default=-1) + 1]
    ):
        zero_edges = index > 0 or network.padding_mode == "zero"  # the fast routes know no others
        suits = isinstance(layer, Conv) and _suits_fast_routes(layer) and zero_edges
        layers.append(change(layer) if suits and isinstance(layer, Conv) else layer)
    return replace(network, layers=tuple(layers))


def _suits_fast_routes(layer: Conv) -> bool:
    """3x3, and wide enough for the products to outweigh the rest."""
    kernel, channels = layer.kernel.shape[:2], layer.kernel.shape[2:]
    wide = channels[0] * channels[1] >= WIDE
    return (*kernel, layer.stride, layer.padding) == (3, 3, 1, 1) and wide


def to_device(network: Network) -> Network:
    """The same network with its numbers on the GPU; after `configure`."""
    layers: list[Layer] = []
    for layer in network.layers:
        match layer:
            case Conv():
                weight, bias = card.to_device(layer.kernel), card.to_device(layer.bias)
                layers.append(replace(layer, kernel=weight, bias=bias))
            case FastConv():
                filters, bias = card.to_device(layer.filters), card.to_device(layer.bias)
                layers.append(replace(layer, filters=filters, bias=bias))
            case _:
                layers.append(layer)
    return replace(network, layers=tuple(layers))


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
                size = output_size(shape, layer.kernel.shape, layer.stride, layer.padding)
                shape = (*size, layer.kernel.shape[3])
            elif isinstance(layer, FastConv | TensorConv):
                shape = (*shape[:2], len(layer.bias))
            elif isinstance(layer, Pool):
                shape = (*pooled_size(shape, layer.size, layer.stride), shape[2])
        except ValueError as error:
            raise InputError(
                f"a picture of {width}x{height} pixels is too small for layer {layer.name} of "
                f"network {network.name}; use a larger --size or a shallower layer"
            ) from error
        result.append((layer, shape))
    return result
