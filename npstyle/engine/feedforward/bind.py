"""A network that paints in one pass, prepared once for the engine that runs it.

`bind_layers` places the arrays where the engine computes, joins an upsampling with the convolution
behind it, and prepares 3x3 convolutions for Winograd's algorithm. Conditional normalisations get
their scales and shifts later, for each style (`npstyle.maths.conditional`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npstyle.engine import cpu
from npstyle.engine.bind import WIDE
from npstyle.engine.feedforward.subpixel import PHASES, subpixel_kernel
from npstyle.maths.array import Array
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import Add, Conv, DepthwiseConv, InstanceNorm, Layer, Upsample
from npstyle.networks.style_layers import StyleLayer


@dataclass(frozen=True)
class FramedConv:
    """A 3x3 convolution by Winograd's algorithm of an image with a border of one pixel.

    Attributes
    ----------
    name : str
    filters : array (36, channels in, channels out)
        The transformed kernel; see `npstyle.engine.cpu.winograd`.
    bias : array (channels out,)
    phases : int
        1, or 2 for a convolution of the image enlarged by 2; see `npstyle.engine.feedforward.
        subpixel`. The border is mirrored for 1, and repeats the nearest pixel for 2.
    """

    name: str
    filters: Array
    bias: Array
    phases: int


BoundLayer = Layer | FramedConv | ConditionalNorm


@dataclass(frozen=True)
class BoundLayers:
    """Layers bound to an engine.

    Attributes
    ----------
    layers : tuple of BoundLayer
    skips : frozenset of str
        Names of the outputs that residual sums add.
    dtype : dtype
        Precision of activations and gradients.
    engine_name : "cpu", "cpu.compiled" or "cuda"
    """

    layers: tuple[BoundLayer, ...]
    skips: frozenset[str]
    dtype: np.dtype[Any]
    engine_name: str = "cpu"

    @property
    def engine(self) -> ModuleType:
        """`npstyle.engine.cpu`, `npstyle.engine.cpu.compiled` or `npstyle.engine.cuda`."""
        return import_module(f"npstyle.engine.{self.engine_name}")


def bind_layers(
    layers: Sequence[StyleLayer],
    *,
    engine: ModuleType = cpu,
    dtype: DTypeLike = np.float32,
    fast: bool = True,
) -> BoundLayers:
    """Bind layers to an engine.

    Parameters
    ----------
    layers : sequence of StyleLayer
    engine : module
        `npstyle.engine.cpu`, `npstyle.engine.cuda`, or in float32 `npstyle.engine.cpu.compiled`.
    dtype : float dtype
        Precision of the arrays; float32 or float64 on a GPU.
    fast : bool
        Whether 3x3 convolutions run by Winograd's algorithm, and upsampling as a part of them. On a
        GPU they do so in float32 only.

    Returns
    -------
    BoundLayers

    Raises
    ------
    ValueError
        If the engine has no loops for the precision.
    """
    fast = fast and not (engine.ON_GPU and np.dtype(dtype) != np.float32)
    skips = frozenset(layer.skip for layer in layers if isinstance(layer, Add))
    bound: list[BoundLayer] = []
    for layer in layers:
        if fast and isinstance(layer, Conv) and _suits_winograd(layer):
            enlarged = bool(bound) and _enlarges(bound[-1], skips)
            if enlarged:
                bound.pop()
            bound.append(_framed(layer, PHASES if enlarged else 1, engine, dtype))
        else:
            bound.append(_placed(layer, engine, dtype))
    name = engine.__name__.removeprefix("npstyle.engine.")
    if name == "cpu.compiled" and np.dtype(dtype) != np.float32:
        raise ValueError(f"bind_layers: compiled loops are for float32, not {np.dtype(dtype)}")
    return BoundLayers(tuple(bound), skips, np.dtype(dtype), name)


def _suits_winograd(layer: Conv) -> bool:
    height, width, channels, filters = layer.kernel.shape
    geometry = (height, width, layer.stride, layer.padding, layer.padding_mode)
    return geometry == (3, 3, 1, 1, "reflect") and channels * filters >= WIDE // PHASES**2


def _enlarges(layer: BoundLayer, skips: frozenset[str]) -> bool:
    """Whether a layer is an upsampling by 2 that nothing but the next layer reads."""
    return isinstance(layer, Upsample) and layer.factor == PHASES and layer.name not in skips


def _framed(layer: Conv, phases: int, engine: ModuleType, dtype: DTypeLike) -> FramedConv:
    kernel = layer.kernel.astype(dtype)
    bias = np.tile(layer.bias.astype(dtype), phases**2)
    if phases > 1:
        kernel = subpixel_kernel(kernel)
    filters = engine.transform_filters(engine.place(kernel))
    return FramedConv(layer.name, filters, engine.place(bias), phases)


def _placed(layer: StyleLayer, engine: ModuleType, dtype: DTypeLike) -> BoundLayer:
    """The layer with its arrays on the engine's device."""
    match layer:
        case Conv() | DepthwiseConv():
            kernel, bias = (engine.place(a, dtype) for a in (layer.kernel, layer.bias))
            return replace(layer, kernel=kernel, bias=bias)
        case InstanceNorm():
            scale, shift = (engine.place(a, dtype) for a in (layer.scale, layer.shift))
            return replace(layer, scale=scale, shift=shift)
    return layer
