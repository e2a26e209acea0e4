"""The paper's normalised network: every filter's mean activation is 1.

"We normalized the network by scaling the weights such that the mean activation of each
convolutional filter over images and positions is equal to one. Such re-scaling can be done for the
VGG network without changing its output" (Gatys et al., CVPR 2016, section 2).

With a_l,i the mean activation of filter i of layer l over images and positions,

    W'_l,i = W_l,i / a_l,i * (a_(l-1),j of its input channel j)          b'_l,i = b_l,i / a_l,i

makes the activation F'_l,i = F_l,i / a_l,i: the ReLU and every way of pooling pass a positive
factor through, and the next layer's weights take it back. A filter that is never active (a = 0)
keeps its scale.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.passes import forward
from npstyle.errors import InputError
from npstyle.images.image import preprocess
from npstyle.networks.architecture import ConvSpec
from npstyle.networks.network import Conv, Network, accelerate, configure, network_from_weights
from npstyle.networks.weights import Weights

Array = NDArray[Any]

TOLERANCE = 1e-3
"""How far, relative to a layer's largest activation, rounding the weights may move the others."""


def mean_activations(network: Network, images: Iterable[Array]) -> dict[str, Array]:
    """Mean activation of every filter over images and positions.

    Parameters
    ----------
    network : Network
    images : iterable of arrays (height, width, 3), pixels 0..255
        Taken one after another; any number, of any sizes.

    Returns
    -------
    dict of float64 arrays (channels,), by layer
    """
    names = [layer.name for layer in network.layers if isinstance(layer, Conv)]
    fast = accelerate(network, names)
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    positions = dict.fromkeys(names, 0)
    for image in images:
        taken = look(fast, image, names, lambda F: (_sum(F), F.shape[0] * F.shape[1]))
        for name, (added, count) in taken.items():
            sums[name] = sums[name] + added
            positions[name] += count
    return {name: sums[name] / max(1, positions[name]) for name in names}


def normalize(weights: Weights, means: dict[str, Array]) -> Weights:
    """The same network with every filter's mean activation brought to 1.

    Parameters
    ----------
    weights : Weights
    means : dict
        From `mean_activations`.

    Returns
    -------
    Weights
        In float32, marked as normalised.
    """
    tensors = {}
    before: Array = np.ones(3)
    for layer in weights.layers:
        if not isinstance(layer, ConvSpec):
            continue
        factor = _factor(means[layer.name])
        kernel = weights.tensors[f"{layer.name}.weight"].astype(np.float64)
        bias = weights.tensors[f"{layer.name}.bias"].astype(np.float64)
        scaled = kernel * before[np.newaxis, :, np.newaxis, np.newaxis]
        scaled /= factor[:, np.newaxis, np.newaxis, np.newaxis]
        tensors[f"{layer.name}.weight"] = scaled.astype(np.float32)
        tensors[f"{layer.name}.bias"] = (bias / factor).astype(np.float32)
        before = factor
    source = f"{weights.source}; normalised to mean activation 1 by npstyle"
    return replace(weights, tensors=tensors, source=source, normalized=True, check={}, sha256="")


def check_normalized(
    weights: Weights, normalized: Weights, means: dict[str, Array], image: Array
) -> float:
    """Hold the new activations of an image against the scaled originals.

    Returns
    -------
    float
        The largest difference at any layer, relative to the layer's largest activation, in float64:
        what is left comes from rounding the new weights to float32.

    Raises
    ------
    InputError
        If it is more than rounding explains.
    """
    networks = [
        configure(network_from_weights(w), "avg", np.float64) for w in (weights, normalized)
    ]
    names = list(means)
    before, after = (look(n, image, names, lambda F: F) for n in networks)
    worst = 0.0
    for name, mean in means.items():
        expected = before[name] / _factor(mean)
        largest = max(float(expected.max()), 1e-30)
        worst = max(worst, float(np.abs(after[name] - expected).max()) / largest)
    if not worst <= TOLERANCE:
        raise InputError(
            f"the normalised network's activations are off by {worst:.1e} from the scaled "
            "originals; its weights are too extreme for float32"
        )
    return worst


def look(
    network: Network, image: Array, names: list[str], take: Callable[[Array], Any]
) -> dict[str, Any]:
    """What `take` makes of each activation of an image."""
    network_input = preprocess(
        image, network.channel_order, network.mean, network.scale, network.dtype
    )
    return forward(network, network_input, dict.fromkeys(names, take))[0]


def _factor(mean: Array) -> Array:
    """What a layer's filters are divided by: a, or 1 where a filter is never active."""
    return np.where(mean > 0, mean, 1.0)


def _sum(activation: Array) -> Array:
    total: Array = activation.sum(axis=(0, 1), dtype=np.float64)
    return total
