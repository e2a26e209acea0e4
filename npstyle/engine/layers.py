"""Layers as the engine runs them: the textbook's, or convolutions prepared for a fast route."""

from dataclasses import dataclass
from typing import Literal

from npstyle.maths.array import Array
from npstyle.maths.layers import Conv, Pool, Relu

TensorPrecision = Literal["tf32", "fp16"]


@dataclass(frozen=True)
class FastConv:
    """A 3x3 convolution with stride 1 and padding 1 by Winograd's algorithm.

    Attributes
    ----------
    name : str
    filters : array (36, channels in, channels out)
        The transformed kernel; see `npstyle.engine.cpu.winograd`.
    bias : array (channels out,)
    """

    name: str
    filters: Array
    bias: Array


@dataclass(frozen=True)
class TensorConv:
    """A 3x3 convolution with stride 1 and padding 1 on the tensor cores of a GPU.

    Attributes
    ----------
    name : str
    packed : two arrays
        The filters for the forward and for the backward pass, multiplied by 1 / `out_scale`; see
        `npstyle.engine.cuda.tensor_cores`.
    bias : array (channels out,)
    channels : int
        Channels in.
    precision : "tf32" or "fp16"
    out_scale : float
    """

    name: str
    packed: tuple[Array, Array]
    bias: Array
    channels: int
    precision: TensorPrecision
    out_scale: float


Convolution = Conv | FastConv | TensorConv
EngineLayer = Convolution | Relu | Pool
