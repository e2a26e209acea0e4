"""The paper's normalised network: every filter has a mean activation of 1.

"We normalized the network by scaling the weights such that the mean activation of each
convolutional filter over images and positions is equal to one. Such re-scaling can be done for the
VGG network without changing its output" (Gatys et al., CVPR 2016, section 2).

Let a_l,i be the mean activation of filter i of layer l over images and positions. Then the kernels
and biases

    K'_l,i = K_l,i / a_l,i * (a_(l-1),j of its input channel j)          b'_l,i = b_l,i / a_l,i

give the activations F'_l,i = F_l,i / a_l,i. The ReLU and every kind of pooling commute with a
positive factor, and the kernels of the next layer cancel it. A filter that is never active (a = 0)
keeps its scale.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.activations import activations
from npstyle.networks.architecture import ConvSpec
from npstyle.networks.network import configure, network_from_weights
from npstyle.networks.weights import Weights

TOLERANCE = 1e-3
"""Largest error of an activation, relative to the largest activation of its layer, that rounding
the scaled weights to float32 may cause."""


def filter_means(weights: Weights, images: Iterable[Array]) -> dict[str, Array]:
    """Mean activation of every filter over images and positions.

    Computed in float32 with average pooling; the sums are float64.

    Parameters
    ----------
    weights : Weights
    images : iterable of arrays (height, width, 3), RGB, 0..255
        Any number of pictures of any sizes. They are processed one at a time.

    Returns
    -------
    dict of float64 arrays (channels,), by layer

    Raises
    ------
    InputError
        If a picture is too small for the network, or a convolution has no ReLU after it.
    """
    network = network_from_weights(weights)
    names = [spec.name for spec in weights.layers if isinstance(spec, ConvSpec)]
    sums = {name: np.zeros(len(weights.tensors[f"{name}.bias"])) for name in names}
    positions = dict.fromkeys(names, 0)
    for image in images:
        for name, F in activations(network, image, names):
            sums[name] += F.sum(axis=(0, 1), dtype=np.float64)
            positions[name] += F.shape[0] * F.shape[1]
    return {name: sums[name] / max(1, positions[name]) for name in names}


def normalize(weights: Weights, means: Mapping[str, Array]) -> Weights:
    """Scale every filter of a network to a mean activation of 1.

    Parameters
    ----------
    weights : Weights
    means : dict of arrays (channels,), by layer
        From `filter_means`.

    Returns
    -------
    Weights
        In float32, marked as normalised, without the means for `npstyle weights verify`.
    """
    tensors = {}
    before: Array = np.ones(3)
    for layer in weights.layers:
        if not isinstance(layer, ConvSpec):
            continue
        divisor = _divisor(means[layer.name])
        kernel = weights.tensors[f"{layer.name}.weight"].astype(np.float64)
        bias = weights.tensors[f"{layer.name}.bias"].astype(np.float64)
        scaled = kernel * before[np.newaxis, :, np.newaxis, np.newaxis]
        scaled /= divisor[:, np.newaxis, np.newaxis, np.newaxis]
        tensors[f"{layer.name}.weight"] = scaled.astype(np.float32)
        tensors[f"{layer.name}.bias"] = (bias / divisor).astype(np.float32)
        before = divisor
    source = f"{weights.source}; normalised to mean activation 1 by npstyle"
    return replace(weights, tensors=tensors, source=source, normalized=True, check={}, sha256="")


def check_normalized(
    weights: Weights, normalized: Weights, means: Mapping[str, Array], image: Array
) -> float:
    """Compare the activations of a normalised network with the scaled originals.

    Parameters
    ----------
    weights, normalized : Weights
        The argument and the result of `normalize`.
    means : dict of arrays (channels,), by layer
        From `filter_means`.
    image : array (height, width, 3), RGB, 0..255

    Returns
    -------
    float
        The largest error of any activation, relative to the largest activation of its layer. The
        computation is in float64, so the error comes from rounding the new weights to float32.

    Raises
    ------
    InputError
        If the error exceeds `TOLERANCE`.
    """
    original, scaled = (
        configure(network_from_weights(w), "avg", np.float64) for w in (weights, normalized)
    )
    worst = 0.0
    pairs = zip(activations(original, image, means), activations(scaled, image, means), strict=True)
    for (name, F), (_, found) in pairs:
        expected = F / _divisor(means[name])
        largest = max(float(expected.max()), 1e-30)
        worst = max(worst, float(np.abs(found - expected).max()) / largest)
    if not worst <= TOLERANCE:
        raise InputError(
            f"network {weights.name}: cannot be normalised, because rounding its scaled weights to "
            f"float32 changes its activations by {worst:.1e} of the largest; use other pictures"
        )
    return worst


def _divisor(mean: Array) -> Array:
    """Return a, or 1 for the filters that are never active."""
    return np.where(mean > 0, mean, 1.0)
