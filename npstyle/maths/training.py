"""Training a network that paints: the gradient that moved pixels moves weights.

A transformer network with the weights theta turns a photo x into a picture y(x, theta) in one pass.
The objective f of `npstyle.maths.objective` judges pictures; its content terms compare y with the
photo, so each photo x_k has an f_k of its own. A search lowers f_k by changing the pixels of one
picture. Training lowers the mean over B photos by changing the weights that all of them share,

    J(theta) = 1/B sum_k f_k(y(x_k, theta))        k = 1, ..., B

By the chain rule, df_k/dy arrives at the network's last layer, as in a search it arrives at the
pixels, and the network's backward pass carries it on to the weights:

    dJ/dtheta = 1/B sum_k (dy(x_k, theta)/dtheta)^T df_k/dy

The photos are a random sample, drawn anew for every step, so this gradient is right only on
average. `npstyle.maths.adam` makes steps of it.

Source: Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and
super-resolution" (arXiv 1603.08155), section 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

from npstyle.maths.array import Array
from npstyle.maths.layers import Layer
from npstyle.maths.network import backward_everywhere, backward_weights, forward

Judge = Callable[[Array], tuple[Any, Array]]
"""f_k: returns the loss of a picture (height, width, 3), and its derivative df_k/dy."""


def training_gradient(
    layers: Sequence[Layer], photos: Sequence[Array], judges: Sequence[Judge], output_scale: float
) -> tuple[Any, dict[str, dict[str, Array]]]:
    """Evaluate J and dJ/dtheta.

    Parameters
    ----------
    layers : sequence of Layer
        The transformer network.
    photos : sequence of arrays (height, width, 3)
        x_k as the network reads them, preprocessed.
    judges : sequence of callables
        f_k, one for each photo.
    output_scale : float
        y = output of the network * output_scale, in pixels 0..255.

    Returns
    -------
    loss : scalar
        J.
    gradients : dict of dict of arrays
        dJ/dtheta, by the name of a layer and of its array.
    """
    last, B = layers[-1].name, len(photos)
    loss: Any = 0.0
    mean: dict[str, dict[str, Array]] = {}
    for x, judge in zip(photos, judges, strict=True):
        outputs = forward(layers, x)
        f, at_picture = judge(outputs[last] * output_scale)
        loss = loss + f / B
        arriving = backward_everywhere(layers, outputs, {last: at_picture * output_scale})
        for name, arrays in backward_weights(layers, outputs, arriving).items():
            before = mean.setdefault(name, {})
            for array, gradient in arrays.items():
                before[array] = before.get(array, 0) + gradient / B
    return loss, mean
