"""The Gram matrix of the activations: which filters fire together, wherever it is.

Forward
-------
With the activations of a layer as a matrix F of N filters by M positions (Gatys et al. 2015,
equation 3),

    G_ij = sum_k F_ik F_jk,     G = F F^T,     N x N, symmetric

Derivative
----------
F_ik appears in row i and in column i of G, so with D = dL/dG

    dL/dF_ik = sum_j (D_ij + D_ji) F_jk,     dL/dF = (D + D^T) F

Our arrays keep the channels last, (height, width, channels): as a matrix that is F^T, M x N, and
the two lines read G = (F^T)^T F^T and dL/dF^T = F^T (D + D^T).

Guided
------
Gatys et al. 2017 ("Controlling perceptual factors in neural style transfer", section 4) look at a
region by a guide t, a number for each position: with T_ik = t_k F_ik for F_ik

    G_ij = sum_k t_k^2 F_ik F_jk,     dL/dF_ik = t_k^2 sum_j (D_ij + D_ji) F_jk

The functions take the weights w = t^2.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.threads import even_strips, evenness, on_gpu, parallel_for, workspace

STRIP_POSITIONS = 1 << 10
"""Positions multiplied at a time at least, a piece of work for one thread."""

STRIP_VALUES = 1 << 16
"""Entries of F multiplied at a time at least: with few channels, more positions."""


def gram(activation: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
    """Gram matrix of one layer's activations, summed over the positions (not divided by M).

    Parameters
    ----------
    activation : array (height, width, channels)
        F, any float dtype.
    weights : array (height, width), optional
        w, what each position counts in the sum; 1 if not given.

    Returns
    -------
    array (channels, channels)
        G, in the same dtype.
    """
    if on_gpu(activation):
        return gpu.gram(activation, weights)
    positions = activation.reshape(-1, activation.shape[-1])
    channels = positions.shape[1]
    ranges = _ranges(len(positions), channels)
    partial = np.empty((len(ranges), channels, channels), activation.dtype)
    column = _column(weights, activation.dtype)

    def multiply(queue: Iterator[tuple[int, tuple[int, int]]]) -> None:
        for k, (first, end) in queue:
            strip = positions[first:end]
            weighed = strip if column is None else strip * column[first:end]
            np.matmul(weighed.T, strip, out=partial[k])

    parallel_for(multiply, enumerate(ranges))
    return partial.sum(axis=0)


def gram_backward(
    gradient: NDArray[Any],
    activation: NDArray[Any],
    *,
    weights: NDArray[Any] | None = None,
    gated: bool = False,
    upstream: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Derivative of `gram` with respect to the activations.

    Parameters
    ----------
    gradient : array (channels, channels)
        D = dL/dG; it need not be symmetric.
    activation : array (height, width, channels)
        F, the input of the forward pass.
    weights : array (height, width), optional
        w, as in the forward pass.
    gated : bool
        Let the derivative pass only where F > 0: F is the output of a ReLU, whose derivative is
        taken along.
    upstream : array (height, width, channels), optional
        What the derivative is added to; it is written over.

    Returns
    -------
    array (height, width, channels)
        dL/dF, plus upstream.
    """
    symmetric = gradient + gradient.T
    positions = activation.reshape(-1, activation.shape[-1])
    dtype = np.result_type(activation, gradient)
    sums = np.zeros(activation.shape, dtype) if upstream is None else upstream
    out = sums.reshape(positions.shape)
    column = _column(weights, dtype)

    def multiply(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            strip = positions[first:end]
            product = workspace(strip.size, dtype).reshape(strip.shape)
            np.matmul(strip, symmetric, out=product)
            if column is not None:
                product *= column[first:end]
            if gated:
                product *= strip > 0
            out[first:end] += product

    parallel_for(multiply, _ranges(*positions.shape))
    return sums


def _ranges(positions: int, channels: int) -> list[tuple[int, int]]:
    height = max(STRIP_POSITIONS, STRIP_VALUES // channels)
    return even_strips(positions, height, evenness(positions * channels))


def _column(weights: NDArray[Any] | None, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    return None if weights is None else weights.reshape(-1, 1).astype(dtype, copy=False)
