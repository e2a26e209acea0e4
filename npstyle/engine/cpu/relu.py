"""The rectified linear unit.

Forward:     F = max(Z, 0)
Derivative:  dL/dZ = dL/dF where F > 0, else 0

At Z = 0 the function has a kink: every number between 0 and 1 is a subgradient there. Like the
paper ("0 if F < 0" and the published programs at equality) we take 0. F > 0 exactly where Z > 0,
so the output is all the derivative needs and Z may be overwritten.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import empty
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.threads import on_gpu, parallel_for, pieces_of


def relu(pre_activation: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Rectify: negative values become 0.

    Parameters
    ----------
    pre_activation : array of any shape and float dtype
        Z.
    out : array of the same shape and dtype, optional
        Where to write; may be `pre_activation` itself.

    Returns
    -------
    array
        F, of the same shape and dtype.
    """
    if on_gpu(pre_activation):
        return gpu.relu(pre_activation, out)
    if out is None:
        out = empty(pre_activation.shape, pre_activation.dtype)

    def rectify(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            np.maximum(pre_activation[first:end], 0, out=out[first:end])

    parallel_for(rectify, pieces_of(out))
    return out


def relu_mask(activation: NDArray[Any]) -> NDArray[np.bool_]:
    """F > 0, all that the derivative needs, in a quarter of float32's memory.

    Parameters
    ----------
    activation : array of any shape and float dtype
        F, what `relu` returned.

    Returns
    -------
    array of bool, of the same shape
        `relu_backward` takes it in the activation's place.
    """
    if on_gpu(activation):
        return gpu.relu_mask(activation)
    out = empty(activation.shape, np.bool_)

    def compare(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            np.greater(activation[first:end], 0, out=out[first:end])

    parallel_for(compare, pieces_of(out))
    return out


def positive(activation: NDArray[Any]) -> NDArray[np.bool_]:
    """F > 0 where it is not known yet: what `active` returned is taken as it is."""
    return activation if activation.dtype == np.bool_ else activation > 0


def relu_backward(
    gradient: NDArray[Any], activation: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Derivative of `relu`: let the gradient pass where the unit was active.

    Parameters
    ----------
    gradient : array
        dL/dF.
    activation : array of the same shape
        F, what `relu` returned, or `relu_mask(F)`.
    out : array of the same shape and dtype as `gradient`, optional
        Where to write; may be `gradient` itself.

    Returns
    -------
    array
        dL/dZ.
    """
    if on_gpu(gradient):
        return gpu.relu_backward(gradient, activation, out)
    if out is None:
        out = empty(gradient.shape, gradient.dtype)

    def gate(queue: Iterator[tuple[int, int]]) -> None:
        for first, end in queue:
            strip = slice(first, end)
            np.multiply(gradient[strip], positive(activation[strip]), out=out[strip])

    parallel_for(gate, pieces_of(gradient))
    return out
