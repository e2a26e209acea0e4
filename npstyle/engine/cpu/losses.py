"""The three losses of the objective, each a value and its derivative, as the paper prints them.

For a layer with N channels and M = height x width positions, F holds the activations after the
ReLU, P the photo's, G the Gram matrix of F and A the painting's.

Content (Gatys et al. 2015, equations 1 and 2)
    L = 1/2 sum (F - P)^2
    dL/dF = F - P  where F > 0, else 0

Style (equations 4 and 6)
    E = 1/(4 N^2 M^2) sum (G - A)^2
    dE/dF = 1/(N^2 M^2) (G - A) F  where F > 0, else 0

    The painting may have another number of positions than the photo, so a Gram matrix enters
    divided by its own M. With G' = G / M and A' = A / M_A

    E = 1/(4 N^2) sum (G' - A')^2
    dE/dG' = 1/(2 N^2) (G' - A')
    dE/dF = 1/(N^2 M) (G' - A') F  where F > 0, else 0

    which is the paper's formula when the sizes agree. (gram_backward with D = dE/dG =
    dE/dG' / M, a symmetric matrix, gives the same: (D + D^T) F.)

    Guided by weights w_k of the positions, sum_k w_k = 1, as in `npstyle.engine.guides`, a region of the
    picture is compared: G' = sum_k w_k F_k F_k^T, and 1/M becomes w_k in the derivative.

Total variation (not in the paper; on the pixels X of the image itself)
    T = sum (X[y, x+1] - X[y, x])^2 + sum (X[y+1, x] - X[y, x])^2
    dT/dX[y, x] = 2 (its left difference - its right one + its upper one - its lower one)

"where F > 0": the derivative of the ReLU at exactly 0 is taken as 0 (see `npstyle.engine.cpu.relu`).
The gate belongs to the ReLU under the loss; the paper prints it with the loss, and so do we. A
backward pass that goes on through that ReLU gates the sum of all derivatives there anyway, and may
leave the loss's own gate out (`gated=False`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu.gram import gram, gram_backward
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.threads import on_gpu, parallel_for, pieces_of, strips

Array = NDArray[Any]

TV_ROWS = 64
"""Rows whose differences are taken at a time: they need little memory beside the picture."""


def content_loss(activation: Array, target: Array) -> Any:
    """L = 1/2 sum (F - P)^2.

    Parameters
    ----------
    activation : array (height, width, channels)
        F, any float dtype.
    target : array (height, width, channels)
        P, the photo's activations at the same layer.

    Returns
    -------
    scalar
        Summed in float64 or better.
    """
    if on_gpu(activation):
        return gpu.sum_of_squares(activation, target, 1 / 2)
    return _sum_of_squares(activation - target) / 2


def content_loss_backward(
    activation: Array,
    target: Array,
    weight: float = 1.0,
    upstream: Array | None = None,
    *,
    gated: bool = True,
) -> Array:
    """Weigh dL/dF = F - P where F > 0, else 0, and add it to what arrives from deeper layers.

    Parameters
    ----------
    activation, target : arrays (height, width, channels)
        As in `content_loss`.
    weight : float
        What the loss is multiplied by in a sum of losses.
    upstream : array (height, width, channels), optional
        What the derivative is added to; it is written over.
    gated : bool
        False if the caller gates the sum afterwards.

    Returns
    -------
    array (height, width, channels)
    """
    if on_gpu(activation):
        return gpu.content_loss_backward(activation, target, weight, upstream, gated)
    out = np.zeros_like(activation) if upstream is None else upstream
    factor = activation.dtype.type(weight)

    def work(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            F, P = activation[first:end], target[first:end]
            slope = factor * (F - P)
            out[first:end] += slope * (F > 0) if gated else slope

    parallel_for(work, pieces_of(out))
    return out


def mean_gram(activation: Array, weights: Array | None = None) -> Array:
    """Gram matrix divided by the number of positions, G' = G / M: what `style_loss` compares.

    Parameters
    ----------
    activation : array (height, width, channels)
        F.
    weights : array (height, width), optional
        w, with the sum 1: what each position counts in the mean; 1 / M if not given.

    Returns
    -------
    array (channels, channels)
    """
    if weights is not None:
        return gram(activation, weights)
    positions = activation.shape[0] * activation.shape[1]
    return gram(activation) / activation.dtype.type(positions)


def style_loss(activation_gram: Array, target_gram: Array) -> Any:
    """E = 1/(4 N^2) sum (G' - A')^2.

    Parameters
    ----------
    activation_gram : array (channels, channels)
        G' = `mean_gram` of the activations.
    target_gram : array (channels, channels)
        A' = `mean_gram` of the painting's.

    Returns
    -------
    scalar
        Summed in float64 or better.
    """
    if on_gpu(activation_gram):
        return gpu.sum_of_squares(activation_gram, target_gram, 1 / (4 * len(activation_gram) ** 2))
    channels = len(activation_gram)
    return _sum_of_squares(activation_gram - target_gram) / (4 * channels**2)


def style_slope(activation_gram: Array, target_gram: Array, weight: float = 1.0) -> Array:
    """Weigh dE/dG' = 1/(2 N^2) (G' - A'); parameters as in `style_loss`.

    Returns
    -------
    array (channels, channels)
    """
    factor = weight / (2 * len(activation_gram) ** 2)
    return (activation_gram - target_gram) * activation_gram.dtype.type(factor)


def style_loss_backward(
    activation: Array,
    activation_gram: Array,
    target_gram: Array,
    weight: float = 1.0,
    upstream: Array | None = None,
    weights: Array | None = None,
    *,
    gated: bool = True,
) -> Array:
    """Weigh dE/dF = 1/(N^2 M) (G' - A') F where F > 0, else 0, and add it to `upstream`.

    Parameters
    ----------
    activation : array (height, width, channels)
        F.
    activation_gram, target_gram : arrays (channels, channels)
        As in `style_loss`.
    weight, upstream, gated
        As in `content_loss_backward`.
    weights : array (height, width), optional
        w, as in `mean_gram`; they take the place of 1 / M.

    Returns
    -------
    array (height, width, channels)
    """
    if on_gpu(activation):
        return gpu.style_loss_backward(
            activation, activation_gram, target_gram, weight, upstream, weights, gated
        )
    if weights is None:
        weight /= activation.shape[0] * activation.shape[1]
    slope = style_slope(activation_gram, target_gram, weight)
    return gram_backward(slope, activation, weights=weights, gated=gated, upstream=upstream)


def total_variation(image: Array) -> Any:
    """T = sum of the squared differences to the right and to the lower neighbour.

    Parameters
    ----------
    image : array (height, width, channels)
        Any float dtype.

    Returns
    -------
    scalar
        Summed in float64 or better.
    """
    if on_gpu(image):
        return gpu.total_variation(image)
    return sum(
        _sum_of_squares(np.diff(image[first:end], axis=1))
        + _sum_of_squares(np.diff(image[max(0, first - 1) : end], axis=0))
        for first, end in strips(len(image), TV_ROWS)
    )


def total_variation_backward(
    image: Array, weight: float = 1.0, upstream: Array | None = None
) -> Array:
    """Weigh dT/dX: every difference pulls its two pixels together.

    Parameters
    ----------
    image : array (height, width, channels)
    weight, upstream
        As in `content_loss_backward`.

    Returns
    -------
    array (height, width, channels)
    """
    if on_gpu(image):
        return gpu.total_variation_backward(image, weight, upstream)
    gradient = np.zeros_like(image) if upstream is None else upstream
    factor = image.dtype.type(2 * weight)
    for first, end in strips(len(image), TV_ROWS):
        to_right = factor * np.diff(image[first:end], axis=1)
        gradient[first:end, 1:] += to_right
        gradient[first:end, :-1] -= to_right
        above = max(0, first - 1)  # the last row of the strip before, which has its lower neighbour
        to_below = factor * np.diff(image[above:end], axis=0)
        gradient[above + 1 : end] += to_below
        gradient[above : end - 1] -= to_below
    return gradient


def _sum_of_squares(values: Array) -> Any:
    """Sum in float64 at least: a float32 sum would lose digits over millions of values."""
    return np.sum(values * values, dtype=np.result_type(values, np.float64))
