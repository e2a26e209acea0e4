"""Binding: a network prepared once for the engine that runs it.

An engine is one of the packages `npstyle.engine.cpu`, `npstyle.engine.cpu.compiled` and
`npstyle.engine.cuda`. They export the same functions. `bind` places the layers' arrays where the
engine computes, and prepares wide convolutions for a fast route. From then on no function asks
where an array lies, or whether there are compiled loops.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.layers import Convolution, EngineLayer, FastConv, TensorConv
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv, VggLayer
from npstyle.networks.network import Network

Route = Literal["plain", "fast", "tf32", "fp16"]

WIDE = 16 * 16
"""Least product of channels in and channels out for which a convolution takes a fast route."""


@dataclass(frozen=True, repr=False)
class BoundNetwork:
    """A network bound to an engine.

    Attributes
    ----------
    network : Network
        Names, shapes and preprocessing. Its kernels hold no values; those are in `layers`.
    layers : tuple of EngineLayer
        The layers with their arrays, one for each layer of `network`.
    dtype : dtype
        Precision of activations and gradients.
    engine_name : "cpu", "cpu.compiled" or "cuda"
        A name, because a module cannot be pickled.
    """

    network: Network
    layers: tuple[EngineLayer, ...]
    dtype: np.dtype[Any]
    engine_name: str = "cpu"

    def __repr__(self) -> str:
        names = f"{self.layers[0].name} to {self.layers[-1].name}" if self.layers else "no layers"
        return f"BoundNetwork {self.network.name}: {names}, {self.dtype}, engine {self.engine_name}"

    @property
    def engine(self) -> ModuleType:
        """`npstyle.engine.cpu`, `npstyle.engine.cpu.compiled` or `npstyle.engine.cuda`."""
        return import_module(f"npstyle.engine.{self.engine_name}")

    def preprocess(self, pixels: Array) -> Array:
        """Return the network's input, (height, width, 3), from pixels on the engine's device."""
        n = self.network
        fed: Array = self.engine.preprocess(pixels, n.channel_order, n.mean, n.scale, self.dtype)
        return fed

    def preprocess_backward(self, upstream: Array) -> Array:
        """Derivative of `preprocess`: dL/dx in float64, (height, width, 3)."""
        n = self.network
        gradient: Array = self.engine.preprocess_backward(upstream, n.channel_order, n.scale)
        return gradient


def bind(
    network: Network,
    wanted: Iterable[str] | None = None,
    *,
    engine: ModuleType = cpu,
    route: Route = "plain",
) -> BoundNetwork:
    """Bind a network to an engine.

    Parameters
    ----------
    network : Network
    wanted : names of activations, optional
        Layers deeper than these are left out. All layers are kept by default.
    engine : module
        `npstyle.engine.cpu` or `npstyle.engine.cuda`; for a network in float32 on the fast route
        also `npstyle.engine.cpu.compiled`.
    route : "plain", "fast", "tf32" or "fp16"
        How wide 3x3 convolutions run: by plain sums, by Winograd's algorithm (both in the network's
        precision; float32 on a GPU), or on a GPU's tensor cores.

    Returns
    -------
    BoundNetwork

    Raises
    ------
    InputError
        If the network has no activation of a name in `wanted`.
    ValueError
        If the engine has no loops for the network's precision.
    """
    name = engine.__name__.removeprefix(f"{__package__}.")
    if name == "cpu.compiled" and network.dtype != np.float32:
        raise ValueError(f"bind: compiled loops are for float32, the network is {network.dtype}")
    depth = len(network.layers)
    if wanted is not None:
        depth = max(map(network.depth, wanted), default=-1) + 1
    layers = network.layers[:depth]
    return BoundNetwork(
        replace(network, layers=tuple(map(_outline, layers))),
        tuple(_placed(layer, engine, route) for layer in layers),
        network.dtype,
        name,
    )


def _outline(layer: VggLayer) -> VggLayer:
    """The layer with a kernel of the same shape whose entries take no memory."""
    if not isinstance(layer, Conv):
        return layer
    return replace(layer, kernel=np.empty(layer.kernel.shape, "V0"))


def _placed(layer: VggLayer, engine: ModuleType, route: Route) -> EngineLayer:
    """The layer with its arrays on the engine's device, prepared for the route if suitable."""
    if not isinstance(layer, Conv):
        return layer
    if route == "plain" or not _suits_fast_routes(layer):
        return replace(layer, kernel=engine.place(layer.kernel), bias=engine.place(layer.bias))
    if route == "fast":
        return FastConv(layer.name, _filters(layer, engine), engine.place(layer.bias))
    packed, out_scale = engine.pack_filters(layer.kernel, route)
    bias, channels = engine.place(layer.bias), layer.kernel.shape[2]
    return TensorConv(layer.name, packed, bias, channels, route, out_scale)


def _filters(layer: Conv, engine: ModuleType) -> Array:
    filters: Array = engine.transform_filters(engine.place(layer.kernel))
    return filters


def _suits_fast_routes(layer: Conv) -> bool:
    """Whether a convolution is 3x3, and so wide that its products take most of the time."""
    height, width, channels, filters = layer.kernel.shape
    geometry = (height, width, layer.stride, layer.padding, layer.padding_mode)
    return geometry == (3, 3, 1, 1, "zero") and channels * filters >= WIDE


def count_convolutions(bound: BoundNetwork) -> tuple[int, int, int]:
    """Count all convolutions, those by Winograd's algorithm, and those on tensor cores."""
    every, fast, tensor = (
        sum(isinstance(layer, kind) for layer in bound.layers)
        for kind in (Convolution, FastConv, TensorConv)
    )
    return every, fast, tensor
