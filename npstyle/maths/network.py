"""A convolutional network: layers one after another, and the chain rule back through them.

Forward, each layer l turns the output of the layer before it into its own,

    X_l = layer_l(X_(l-1)),     X_0 = the network's input

and a residual sum also reads the output of an earlier layer. Backward, let L be a sum of losses at
the outputs of several layers. The gradient at X_l has two parts: the derivative of the loss at X_l
itself, and the gradient that arrives through the layers that read X_l,

    dL/dX_l = (loss at X_l)' + sum_k (dX_k/dX_l)^T dL/dX_k     over the layers k that read X_l

The backward function of layer k computes its term of the sum. Walking the list from its end to its
beginning, adding each loss's gradient on the way, ends at dL/dX_0. The derivative with respect to a
layer's weights follows from the gradient at its output and from its input.

The paper's "conv4_2" means the activations after the ReLU. Here that is the output of `relu4_2`.
"""

from collections.abc import Mapping, Sequence

from npstyle.maths.array import Array
from npstyle.maths.layers import (
    Add,
    Layer,
    run_layer,
    run_layer_backward,
    run_layer_backward_weights,
)


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
        skip = outputs[layer.skip] if isinstance(layer, Add) else None
        X = outputs[layer.name] = run_layer(layer, X, skip)
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
    return backward_everywhere(layers, outputs, gradients)["image"]


def backward_everywhere(
    layers: Sequence[Layer], outputs: Mapping[str, Array], gradients: Mapping[str, Array]
) -> dict[str, Array]:
    """Return dL/dX_l of every layer that a loss depends on; parameters and errors as `backward`."""
    arriving = {layer.name: gradients[layer.name] for layer in layers if layer.name in gradients}
    if not arriving:
        raise ValueError(f"no layer of the network is called {' or '.join(gradients) or '...'}")
    names = ["image", *(layer.name for layer in layers)]
    for layer, before in zip(reversed(layers), reversed(names[:-1]), strict=True):
        if layer.name in arriving:
            upstream = arriving[layer.name]
            at_X = run_layer_backward(layer, upstream, outputs[before], outputs[layer.name])
            arriving[before] = arriving.get(before, 0) + at_X
            if isinstance(layer, Add):
                arriving[layer.skip] = arriving.get(layer.skip, 0) + upstream
    return arriving


def backward_weights(
    layers: Sequence[Layer], outputs: Mapping[str, Array], arriving: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Derivative with respect to all weights of a network.

    Parameters
    ----------
    layers : sequence of Layer
    outputs : dict of arrays
        From `forward`.
    arriving : dict of arrays
        From `backward_everywhere`.

    Returns
    -------
    dict of dict of arrays
        By the layer's name and that of its array: "kernel", "bias", "scale" or "shift".
    """
    found: dict[str, dict[str, Array]] = {}
    before = "image"
    for layer in layers:
        if layer.name in arriving:
            of_layer = run_layer_backward_weights(layer, arriving[layer.name], outputs[before])
            found |= {layer.name: of_layer} if of_layer else {}
        before = layer.name
    return found
