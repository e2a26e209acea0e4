"""A convolutional network: layers one after another, and the chain rule back through them.

Forward, each layer l turns the output of the layer before it into its own,

    X_l = layer_l(X_(l-1)),     X_0 = the network's input

Backward, let L be a sum of losses at the outputs of several layers. The gradient at X_l has two
parts: the derivative of the loss at X_l itself, and the gradient that arrives through the next
layer,

    dL/dX_l = (loss at X_l)' + (dX_(l+1)/dX_l)^T dL/dX_(l+1)

The backward function of layer l+1 computes the second part. Walking the list from its end
to its beginning, adding each loss's gradient on the way, ends at dL/dX_0.

The paper's "conv4_2" means the activations after the ReLU. Here that is the output of `relu4_2`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from npstyle.maths.array import Array
from npstyle.maths.conv import conv2d, conv2d_backward
from npstyle.maths.padding import replicate_pad, replicate_pad_backward
from npstyle.maths.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.maths.relu import relu, relu_backward

Pooling = Literal["avg", "max", "l2"]
PaddingMode = Literal["zero", "replicate"]


@dataclass(frozen=True)
class Conv:
    """A convolution.

    Attributes
    ----------
    name : str
    kernel : array (kernel height, kernel width, channels in, channels out)
    bias : array (channels out,)
    stride, padding : int
    padding_mode : "zero" or "replicate"
        What the convolution sees beyond the edge of its input.
    """

    name: str
    kernel: Array
    bias: Array
    stride: int = 1
    padding: int = 0
    padding_mode: PaddingMode = "zero"


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


Layer = Conv | Relu | Pool


def forward(layers: Sequence[Layer], image: Array) -> dict[str, Array]:
    """Run a network.

    Parameters
    ----------
    layers : sequence of Layer
        In order, each with a name of its own.
    image : array (height, width, channels)
        X_0, the preprocessed picture.

    Returns
    -------
    dict of arrays (height, width, channels)
        The output of every layer by the layer's name, and X_0 under "image".
    """
    outputs = {"image": image}
    X = image
    for layer in layers:
        X = outputs[layer.name] = run_layer(layer, X)
    return outputs


def backward(
    layers: Sequence[Layer], outputs: Mapping[str, Array], gradients: Mapping[str, Array]
) -> Array:
    """Propagate gradients from the layers with a loss back to the image.

    Parameters
    ----------
    layers : sequence of Layer
    outputs : dict of arrays
        From `forward`.
    gradients : dict of arrays
        By layer name, the derivative of the losses at the layer's output, of its shape.

    Returns
    -------
    array (height, width, channels)
        dL/dX_0.

    Raises
    ------
    ValueError
        If `gradients` names no layer of the network.
    """
    upstream: Array | None = None
    names = ["image", *(layer.name for layer in layers)]
    for layer, name_before in zip(reversed(layers), reversed(names[:-1]), strict=True):
        if layer.name in gradients:
            own = gradients[layer.name]
            upstream = own if upstream is None else upstream + own
        if upstream is not None:
            upstream = run_layer_backward(
                layer, upstream, outputs[name_before], outputs[layer.name]
            )
    if upstream is None:
        raise ValueError(f"no layer of the network is called {' or '.join(gradients) or '...'}")
    return upstream


def run_layer(layer: Layer, X: Array) -> Array:
    """Run one layer on an array (height, width, channels)."""
    match layer:
        case Conv(padding_mode="replicate"):
            padded = replicate_pad(X, layer.padding)
            return conv2d(padded, layer.kernel, layer.bias, layer.stride)
        case Conv():
            return conv2d(X, layer.kernel, layer.bias, layer.stride, layer.padding)
        case Relu():
            return relu(X)
        case Pool():
            pool = {"avg": avg_pool2d, "max": max_pool2d, "l2": l2_pool2d}[layer.mode]
            return pool(X, layer.size, layer.stride)


def run_layer_backward(layer: Layer, upstream: Array, X: Array, Y: Array) -> Array:
    """Derivative of `run_layer` with respect to X; Y is the result of `run_layer`."""
    match layer:
        case Conv(padding_mode="replicate"):
            p = layer.padding
            shape = (X.shape[0] + 2 * p, X.shape[1] + 2 * p, X.shape[2])
            gradient = conv2d_backward(upstream, layer.kernel, shape, layer.stride)
            return replicate_pad_backward(gradient, p)
        case Conv():
            return conv2d_backward(upstream, layer.kernel, X.shape, layer.stride, layer.padding)
        case Relu():
            return relu_backward(upstream, Y)
        case Pool(mode="avg"):
            return avg_pool2d_backward(upstream, X.shape, layer.size, layer.stride)
        case Pool(mode="max"):
            return max_pool2d_backward(upstream, X, layer.size, layer.stride)
        case Pool():
            return l2_pool2d_backward(upstream, X, layer.size, layer.stride)
