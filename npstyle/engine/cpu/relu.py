"""The rectified linear unit on several threads; the formulas are in `npstyle.maths.relu`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import empty
from npstyle.engine.strips import Range, pieces_of
from npstyle.engine.threads import parallel_for
from npstyle.maths.array import Array


def relu(pre_activation: Array, out: Array | None = None) -> Array:
    """F = max(Z, 0).

    Parameters
    ----------
    pre_activation : array of any shape and float dtype
        Z.
    out : array of the same shape and dtype, optional
        Receives the result; may be `pre_activation` itself.

    Returns
    -------
    array
        F.
    """
    result = empty(pre_activation.shape, pre_activation.dtype) if out is None else out

    def rectify(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.maximum(pre_activation[first:end], 0, out=result[first:end])

    parallel_for(rectify, pieces_of(result))
    return result


def relu_mask(activation: Array) -> NDArray[np.bool_]:
    """Return F > 0. The derivative needs no more, and it takes a quarter of float32's memory.

    Parameters
    ----------
    activation : array of any shape and float dtype
        F.

    Returns
    -------
    bool array of the same shape
    """
    mask = empty(activation.shape, np.bool_)

    def compare(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.greater(activation[first:end], 0, out=mask[first:end])

    parallel_for(compare, pieces_of(mask))
    return mask


def as_mask(activation: Array) -> NDArray[np.bool_]:
    """Return F > 0; an array that is a mask already is returned as it is."""
    return activation if activation.dtype == np.bool_ else activation > 0


def relu_backward(upstream: Array, activation: Array, out: Array | None = None) -> Array:
    """dL/dZ = dL/dF where F > 0, else 0.

    Parameters
    ----------
    upstream : array
        dL/dF.
    activation : array of the same shape
        F, or the mask F > 0.
    out : array of the same shape and dtype as `upstream`, optional
        Receives the result; may be `upstream` itself.

    Returns
    -------
    array
        dL/dZ.
    """
    result = empty(upstream.shape, upstream.dtype) if out is None else out

    def apply(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = slice(first, end)
            np.multiply(upstream[strip], as_mask(activation[strip]), out=result[strip])

    parallel_for(apply, pieces_of(upstream))
    return result
