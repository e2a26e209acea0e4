"""Conditional instance normalisation: scales and shifts that depend on the style.

A style is a vector c, its code. Each normalisation of the network computes its scale a and its
shift b from the code by a linear map of its own,

    a = A c + a_0       b = B c + b_0

With N learned styles the code has N entries, the columns of A and B are the scales and shifts of
one style each, a_0 and b_0 are 0, and a code with entries w_1, ..., w_N and sum 1 mixes the styles
(Dumoulin et al., arXiv 1610.07629). For arbitrary styles, a second network computes the code from a
painting (Ghiasi et al., arXiv 1705.06830).

Once the code is known, `conditioned` turns the normalisations into plain ones
(`npstyle.maths.normalization`), and the network is like any other. The gradient at a, which
arrives from there, moves on by the chain rule,

    dL/dc = A^T dL/da + B^T dL/db       dL/dA = dL/da c^T       dL/da_0 = dL/da

where dL/dc is the sum over all normalisations, and B and b_0 are like A and a_0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.layers import InstanceNorm, Layer


@dataclass(frozen=True)
class ConditionalNorm:
    """Conditional instance normalisation.

    Attributes
    ----------
    name : str
    scale_weights, shift_weights : arrays (channels, code)
        A and B.
    scale_bias, shift_bias : arrays (channels,)
        a_0 and b_0.
    epsilon : float
        As in `npstyle.maths.normalization`.
    """

    name: str
    scale_weights: Array
    scale_bias: Array
    shift_weights: Array
    shift_bias: Array
    epsilon: float = 1e-5


def conditioned(layers: Sequence[Layer | ConditionalNorm], code: Array) -> list[Layer]:
    """Return the layers of a network for one style.

    Parameters
    ----------
    layers : sequence of Layer and ConditionalNorm
    code : array (code,)
        c.

    Returns
    -------
    list of Layer
        With an `InstanceNorm` in the place of every `ConditionalNorm`.
    """
    return [_at(code, layer) if isinstance(layer, ConditionalNorm) else layer for layer in layers]


def _at(code: Array, layer: ConditionalNorm) -> InstanceNorm:
    """The normalisation for one style."""
    a = layer.scale_weights @ code + layer.scale_bias
    b = layer.shift_weights @ code + layer.shift_bias
    return InstanceNorm(layer.name, a, b, layer.epsilon)


def conditioned_backward(
    layers: Sequence[Layer | ConditionalNorm],
    code: Array,
    gradients: Mapping[str, Mapping[str, Array]],
) -> tuple[Array, dict[str, dict[str, Array]]]:
    """Derivative of `conditioned` with respect to the code and to the linear maps.

    Parameters
    ----------
    layers, code
        As in `conditioned`.
    gradients : dict of dict of arrays
        dL/da and dL/db by the layer's name and "scale" or "shift", from
        `npstyle.maths.network.backward_weights` of the conditioned layers.

    Returns
    -------
    code_gradient : array (code,)
        dL/dc.
    map_gradients : dict of dict of arrays
        By the layer's name and the attribute of `ConditionalNorm`.
    """
    at_code = np.zeros_like(code)
    at_maps = {}
    for layer in layers:
        if isinstance(layer, ConditionalNorm):
            at_a, at_b = gradients[layer.name]["scale"], gradients[layer.name]["shift"]
            at_code = at_code + layer.scale_weights.T @ at_a + layer.shift_weights.T @ at_b
            at_maps[layer.name] = {
                "scale_weights": np.outer(at_a, code),
                "scale_bias": at_a,
                "shift_weights": np.outer(at_b, code),
                "shift_bias": at_b,
            }
    return at_code, at_maps
