"""The losses on several threads; the formulas are in `npstyle.maths`: content, style, variation.

A backward function multiplies by the term's weight (alpha, beta or gamma) and adds to `out`, the
gradient that arrives from deeper layers, so that no array is written twice.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npstyle.engine.cpu.gram import gram_backward, mean_gram
from npstyle.engine.strips import Range, pieces_of, strips
from npstyle.engine.threads import parallel_for
from npstyle.maths.array import Array

TV_ROWS = 64
"""Rows in a strip whose differences are computed together; more would need more memory."""


def content_loss(F: Array, P: Array) -> Any:
    """L = 1/2 sum (F - P)^2, for two arrays (height, width, channels); summed in float64."""
    return _sum_of_squares(F - P) / 2


def content_loss_backward(
    F: Array, P: Array, alpha: float = 1.0, out: Array | None = None
) -> Array:
    """Add alpha dL/dF = alpha (F - P) to `out`.

    Parameters
    ----------
    F, P : arrays (height, width, channels)
        Activations of the picture and of the photo.
    alpha : float
        Weight of the loss.
    out : array (height, width, channels), optional
        Zeros by default.

    Returns
    -------
    array (height, width, channels)
        `out`.
    """
    sums = np.zeros_like(F) if out is None else out
    factor = F.dtype.type(alpha)

    def add(queue: Iterator[Range]) -> None:
        for first, end in queue:
            sums[first:end] += factor * (F[first:end] - P[first:end])

    parallel_for(add, pieces_of(sums))
    return sums


def gram_loss(G: Array, A: Array) -> Any:
    """E = 1/(4 N^2) sum (G - A)^2 of two mean Gram matrices (channels, channels), in float64."""
    return _sum_of_squares(G - A) / (4 * len(G) ** 2)


def gram_loss_backward(G: Array, A: Array, beta: float = 1.0) -> Array:
    """beta dE/dG = beta/(2 N^2) (G - A); parameters as in `gram_loss`, the result has G's shape."""
    return (G - A) * G.dtype.type(beta / (2 * len(G) ** 2))


def style_loss(F: Array, A: Array, guide: Array | None = None) -> Any:
    """E of the activations F (height, width, channels) against the Gram matrix A, in float64."""
    return gram_loss(mean_gram(F, guide), A)


def style_loss_backward(
    F: Array,
    A: Array,
    beta: float = 1.0,
    guide: Array | None = None,
    gram: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Add beta dE/dF to `out`.

    Parameters
    ----------
    F : array (height, width, channels)
        Activations of the picture.
    A : array (channels, channels)
        `mean_gram` of the painting's activations.
    beta : float
        Weight of the loss.
    guide : array (height, width) with sum 1, optional
        The region of the picture; 1/M at every position by default.
    gram : array (channels, channels), optional
        `mean_gram(F, guide)`, if the forward pass has it already.
    out : array (height, width, channels), optional
        Zeros by default.

    Returns
    -------
    array (height, width, channels)
        `out`.
    """
    if gram is None:
        gram = mean_gram(F, guide)
    if guide is None:
        beta /= F.shape[0] * F.shape[1]
    return gram_backward(gram_loss_backward(gram, A, beta), F, guide, out)


def total_variation(image: Array) -> Any:
    """T of an image (height, width, channels), summed in float64."""
    return sum(
        _sum_of_squares(np.diff(image[first:end], axis=1))
        + _sum_of_squares(np.diff(image[max(0, first - 1) : end], axis=0))
        for first, end in strips(len(image), TV_ROWS)
    )


def total_variation_backward(image: Array, gamma: float = 1.0, out: Array | None = None) -> Array:
    """Add gamma dT/dX to `out`.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    gamma : float
        Weight of the total variation.
    out : array (height, width, channels), optional
        Zeros by default.

    Returns
    -------
    array (height, width, channels)
        `out`.
    """
    gradient = np.zeros_like(image) if out is None else out
    factor = image.dtype.type(2 * gamma)
    for first, end in strips(len(image), TV_ROWS):
        to_right = factor * np.diff(image[first:end], axis=1)
        gradient[first:end, 1:] += to_right
        gradient[first:end, :-1] -= to_right
        above = max(0, first - 1)  # the last row of the strip before is the upper neighbour
        to_below = factor * np.diff(image[above:end], axis=0)
        gradient[above + 1 : end] += to_below
        gradient[above : end - 1] -= to_below
    return gradient


def _sum_of_squares(values: Array) -> Any:
    """Sum in float64 at least: a float32 sum would lose digits over millions of values."""
    return np.sum(values * values, dtype=np.result_type(values, np.float64))
