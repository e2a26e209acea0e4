"""The objective: pixels in, one number and its gradient at the pixels out.

The objective at the pixels x is the paper's equation 7 and a smoothness term, which the paper does
not have:

    f(x) = sum alpha L(F, P) + sum beta E(F, A) + gamma T(x)

The first sum runs over content terms: L compares the activations F of a layer with the photo's, P.
The second runs over style terms: E compares their Gram matrix with the painting's, A. An evaluation
takes four steps:

    1. activations                  the network forward, from x
    2. losses                       each term at its activations
    3. gradients at the activations each term's derivative, alpha dL/dF and beta dE/dF
    4. gradient at the pixels       the network backward, to df/dx
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.content import content_loss, content_loss_backward
from npstyle.maths.layers import Layer
from npstyle.maths.network import backward, forward
from npstyle.maths.preprocessing import preprocess, preprocess_backward
from npstyle.maths.style import style_loss, style_loss_backward
from npstyle.maths.variation import total_variation, total_variation_backward


@dataclass(frozen=True)
class ContentTerm:
    """alpha L(F, P) at the layer of this name; P is the layer's output for the photo."""

    layer: str
    alpha: float
    P: Array

    def loss(self, F: Array) -> Any:
        """The term's value."""
        return self.alpha * content_loss(F, self.P)

    def gradient(self, F: Array) -> Array:
        """Its derivative with respect to F."""
        return self.alpha * content_loss_backward(F, self.P)


@dataclass(frozen=True)
class StyleTerm:
    """beta E(F, A) at the layer of this name, in the region of a guide if there is one.

    A is `npstyle.maths.gram.mean_gram` of the layer's output for the painting.
    """

    layer: str
    beta: float
    A: Array
    guide: Array | None = None

    def loss(self, F: Array) -> Any:
        """The term's value."""
        return self.beta * style_loss(F, self.A, self.guide)

    def gradient(self, F: Array) -> Array:
        """Its derivative with respect to F."""
        return self.beta * style_loss_backward(F, self.A, self.guide)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become a network's input; see `npstyle.maths.preprocessing`."""

    channel_order: str
    mean: Sequence[float]
    scale: Sequence[float]


def objective(
    pixels: Array,
    layers: Sequence[Layer],
    preprocessing: Preprocessing,
    terms: Sequence[ContentTerm | StyleTerm],
    gamma: float = 0.0,
) -> tuple[Any, Array]:
    """Evaluate f and df/dx.

    Parameters
    ----------
    pixels : array (height, width, 3), RGB, 0..255
        x.
    layers : sequence of Layer
        The network.
    preprocessing : Preprocessing
        How the pixels become the network's input.
    terms : sequence of ContentTerm and StyleTerm
        At least one.
    gamma : float
        Weight of the total variation.

    Returns
    -------
    loss : scalar
        f(x).
    gradient : array (height, width, 3), RGB
        df/dx.
    """
    prep = preprocessing
    image = preprocess(pixels, prep.channel_order, prep.mean, prep.scale)
    activations = forward(layers, image)

    loss = gamma * total_variation(pixels)
    gradients: dict[str, Array] = {}
    for term in terms:
        F = activations[term.layer]
        loss = loss + term.loss(F)
        gradients[term.layer] = gradients.get(term.layer, np.zeros_like(F)) + term.gradient(F)

    at_image = backward(layers, activations, gradients)
    at_pixels = preprocess_backward(at_image, prep.channel_order, prep.scale)
    return loss, at_pixels + gamma * total_variation_backward(pixels)
