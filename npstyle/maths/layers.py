"""The layers of a network as data, and how to run one: forward, back to its input, to its weights.

A layer is a record of its arrays and numbers. `run_layer` looks up the function that computes it,
and the two backward functions look up its derivatives. The formulas are in the preceding chapters.

The residual sum
----------------
    Y = X + S

adds the output S of an earlier layer to X, the output of the layer before. The derivative with
respect to each of the two is dL/dY. The layers in between only compute a correction to S, which
makes deep networks easier to train: He et al. (arXiv 1512.03385).
"""

from dataclasses import dataclass
from typing import Literal

from npstyle.maths.array import Array
from npstyle.maths.conv import conv2d, conv2d_backward, conv2d_backward_weights
from npstyle.maths.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv2d_backward_weights,
)
from npstyle.maths.normalization import (
    instance_norm,
    instance_norm_backward,
    instance_norm_backward_weights,
)
from npstyle.maths.padding import (
    reflect_pad,
    reflect_pad_backward,
    replicate_pad,
    replicate_pad_backward,
    zero_pad,
    zero_pad_backward,
)
from npstyle.maths.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool,
    global_avg_pool_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.maths.relu import relu, relu6, relu6_backward, relu_backward
from npstyle.maths.sigmoid import sigmoid, sigmoid_backward
from npstyle.maths.upsampling import upsample, upsample_backward

Pooling = Literal["avg", "max", "l2"]
PaddingMode = Literal["zero", "replicate"]
"""The paddings to choose from for a loss network."""


@dataclass(frozen=True)
class Conv:
    """A convolution.

    Attributes
    ----------
    name : str
    kernel : array (kernel height, kernel width, channels in, channels out)
    bias : array (channels out,)
    stride, padding : int
    padding_mode : "zero", "replicate" or "reflect"
        What the convolution sees beyond the edge of its input.
    """

    name: str
    kernel: Array
    bias: Array
    stride: int = 1
    padding: int = 0
    padding_mode: PaddingMode | Literal["reflect"] = "zero"


@dataclass(frozen=True)
class Relu:
    """A rectified linear unit."""

    name: str


@dataclass(frozen=True)
class Pool:
    """A pooling layer with windows of `size` x `size`, `stride` apart."""

    name: str
    size: int
    stride: int
    mode: Pooling = "avg"


@dataclass(frozen=True)
class Pad:
    """`before` rows and columns of zeros above and to the left, `after` below and to the right."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class DepthwiseConv:
    """A depthwise convolution: kernel (kernel height, kernel width, channels), bias (channels,)."""

    name: str
    kernel: Array
    bias: Array
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class InstanceNorm:
    """Instance normalisation: scale and shift are arrays (channels,)."""

    name: str
    scale: Array
    shift: Array
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Add:
    """The residual sum: the output of the earlier layer `skip` is added."""

    name: str
    skip: str


@dataclass(frozen=True)
class Upsample:
    """Nearest-neighbour upsampling by `factor`."""

    name: str
    factor: int


@dataclass(frozen=True)
class Relu6:
    """A rectified linear unit with outputs of at most 6."""

    name: str


@dataclass(frozen=True)
class GlobalPool:
    """Global average pooling."""

    name: str


@dataclass(frozen=True)
class Sigmoid:
    """A sigmoid."""

    name: str


VggLayer = Conv | Relu | Pool
"""The layers of a VGG."""

Layer = (
    VggLayer | Pad | DepthwiseConv | InstanceNorm | Add | Upsample | Relu6 | GlobalPool | Sigmoid
)

_PADS = {"replicate": replicate_pad, "reflect": reflect_pad}
_PADS_BACKWARD = {"replicate": replicate_pad_backward, "reflect": reflect_pad_backward}


def run_layer(layer: Layer, X: Array, skip: Array | None = None) -> Array:
    """Run one layer on an array (height, width, channels); a residual sum adds `skip`."""
    match layer:
        case Conv():
            padded, padding = _padded(layer, X)
            return conv2d(padded, layer.kernel, layer.bias, layer.stride, padding)
        case Relu():
            return relu(X)
        case Pool():
            pool = {"avg": avg_pool2d, "max": max_pool2d, "l2": l2_pool2d}[layer.mode]
            return pool(X, layer.size, layer.stride)
        case Pad():
            return zero_pad(X, layer.before, layer.after)
        case DepthwiseConv():
            return depthwise_conv2d(X, layer.kernel, layer.bias, layer.stride, layer.padding)
        case InstanceNorm():
            return instance_norm(X, layer.scale, layer.shift, layer.epsilon)
        case Add():
            return X + skip
        case Upsample():
            return upsample(X, layer.factor)
        case Relu6():
            return relu6(X)
        case GlobalPool():
            return global_avg_pool(X)
        case Sigmoid():
            return sigmoid(X)


def run_layer_backward(layer: Layer, upstream: Array, X: Array, Y: Array) -> Array:
    """Derivative of `run_layer` with respect to X; Y is the result of `run_layer`."""
    match layer:
        case Conv():
            padded, padding = _padded(layer, X)
            way = padded.shape, layer.stride, padding
            gradient = conv2d_backward(upstream, layer.kernel, *way)
            unpad = _PADS_BACKWARD.get(layer.padding_mode)
            return gradient if unpad is None else unpad(gradient, layer.padding)
        case Relu():
            return relu_backward(upstream, Y)
        case Pool():
            return _pool_backward(layer, upstream, X)
        case Pad():
            return zero_pad_backward(upstream, layer.before, layer.after)
        case DepthwiseConv():
            way = X.shape, layer.stride, layer.padding
            return depthwise_conv2d_backward(upstream, layer.kernel, *way)
        case InstanceNorm():
            return instance_norm_backward(upstream, X, layer.scale, layer.epsilon)
        case Add():
            return upstream
        case Upsample():
            return upsample_backward(upstream, layer.factor)
        case Relu6():
            return relu6_backward(upstream, Y)
        case GlobalPool():
            return global_avg_pool_backward(upstream, X.shape)
        case Sigmoid():
            return sigmoid_backward(upstream, Y)


def run_layer_backward_weights(layer: Layer, upstream: Array, X: Array) -> dict[str, Array]:
    """Derivative of `run_layer` with respect to the arrays of the layer, by their names in it."""
    match layer:
        case Conv():
            padded, padding = _padded(layer, X)
            size = layer.kernel.shape[0], layer.kernel.shape[1]
            found = conv2d_backward_weights(upstream, padded, size, layer.stride, padding)
            return dict(zip(("kernel", "bias"), found, strict=True))
        case DepthwiseConv():
            size = layer.kernel.shape[0], layer.kernel.shape[1]
            way = size, layer.stride, layer.padding
            found = depthwise_conv2d_backward_weights(upstream, X, *way)
            return dict(zip(("kernel", "bias"), found, strict=True))
        case InstanceNorm():
            found = instance_norm_backward_weights(upstream, X, layer.epsilon)
            return dict(zip(("scale", "shift"), found, strict=True))
    return {}


def _padded(layer: Conv, X: Array) -> tuple[Array, int]:
    """The input, already padded unless by zeros, and the number of zeros still to be added."""
    if layer.padding_mode == "zero":
        return X, layer.padding
    return _PADS[layer.padding_mode](X, layer.padding), 0


def _pool_backward(layer: Pool, upstream: Array, X: Array) -> Array:
    if layer.mode == "avg":
        return avg_pool2d_backward(upstream, X.shape, layer.size, layer.stride)
    pool_backward = max_pool2d_backward if layer.mode == "max" else l2_pool2d_backward
    return pool_backward(upstream, X, layer.size, layer.stride)
