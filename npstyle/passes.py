"""A network run forward and backward.

Forward, every layer turns the array before it into the next one; the activations asked for are
handed out by name. Backward, the chain rule walks the same list from its deepest layer up: at a
layer where a loss sits, the loss's gradient is added to what arrives from below,

    dL/dF^l = dE_l/dF^l + (dF^(l+1)/dF^l)^T dL/dF^(l+1)

and the layer's own backward function carries the sum on, until it stands at the image.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from npstyle.network import Conv, FastConv, Network, Pool, Relu, shapes
from npstyle.ops.conv import conv2d, conv2d_backward
from npstyle.ops.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from npstyle.ops.relu import active, relu, relu_backward
from npstyle.ops.winograd import winograd_conv2d, winograd_conv2d_backward

Array = NDArray[Any]

LossGradient = Callable[[Array | None], Array]
"""Adds a loss's derivative at an activation to what arrives there from deeper layers, if any."""


@dataclass
class Tape:
    """What `forward` keeps for `backward`: one entry per layer that ran.

    A convolution's is the shape of its input; a ReLU's, its output, or where that is positive;
    a pooling layer's, the shape of its input, or input and output if it takes the maximum.
    """

    entries: list[Any]
    depths: dict[int, str]


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
            case FastConv():
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
                entries.append(image if stays(network, index, depths) else active(image))
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
            case FastConv():
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


def stays(network: Network, index: int, depths: Container[int]) -> bool:
    """Whether the output of ReLU `index` is kept on the tape, and not only its gate.

    A loss at it (its depth is in `depths`) and max pooling behind it need the whole array.
    """
    after = network.layers[index + 1 : index + 2]
    return index in depths or any(
        isinstance(layer, Pool) and layer.mode == "max" for layer in after
    )


def _takes_relu(network: Network, index: int) -> bool:
    """Whether layer `index` is a ReLU that the convolution before it does along.

    Forward the convolution writes max(Z, 0); backward it reads dL/dF with the gate of F.
    """
    pair = network.layers[index - 1 : index + 1]
    return len(pair) == 2 and isinstance(pair[0], FastConv) and isinstance(pair[1], Relu)
