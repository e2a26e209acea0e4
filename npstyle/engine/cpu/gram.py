"""The Gram matrix in strips of positions; the formulas are in `npstyle.maths.gram`.

The products of the strips are added in order, so the result does not depend on the number of
threads. G is symmetric: `numpy.matmul` sees that a matrix is multiplied by its own transpose, calls
BLAS's `syrk`, which computes half of it, and copies the other half.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npstyle.engine.strips import EVEN, Range, even_strips, evenness
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array

STRIP_POSITIONS = 1 << 10
"""Least number of positions in a strip."""

STRIP_VALUES = 1 << 16
"""Least number of entries of F in a strip: with few channels a strip has more positions."""


FEW_POSITIONS = 384
"""Positions of a strip below which copying half of its product takes longer than multiplying."""


def gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix of one layer's activations, summed over the positions.

    Parameters
    ----------
    F : array (height, width, channels)
        Activations, any float dtype.
    guide : array (height, width), optional
        w, by which each position counts; 1 by default.

    Returns
    -------
    array (channels, channels)
        G, in the same dtype.
    """
    positions = F.reshape(-1, F.shape[-1])
    channels = positions.shape[1]
    multiple = min(EVEN, max(1, len(positions) // FEW_POSITIONS))
    ranges = even_strips(len(positions), _strip_height(channels), multiple)
    partial = np.empty((len(ranges), channels, channels), F.dtype)
    column = _column(guide, F.dtype)

    def multiply(queue: Iterator[tuple[int, Range]]) -> None:
        for k, (first, end) in queue:
            strip = positions[first:end]
            counted = strip if column is None else strip * column[first:end]
            np.matmul(counted.T, strip, out=partial[k])

    parallel_for(multiply, enumerate(ranges))
    return partial.sum(axis=0)


def gram_backward(
    D: Array, F: Array, guide: Array | None = None, out: Array | None = None
) -> Array:
    """Derivative of `gram` with respect to the activations.

    Parameters
    ----------
    D : array (channels, channels)
        dL/dG; it need not be symmetric.
    F : array (height, width, channels)
        Activations.
    guide : array (height, width), optional
        As in `gram`.
    out : array (height, width, channels), optional
        The derivative is added to it; zeros by default.

    Returns
    -------
    array (height, width, channels)
        `out`.
    """
    symmetric = D + D.T
    positions = F.reshape(-1, F.shape[-1])
    dtype = np.result_type(F, D)
    sums = np.zeros(F.shape, dtype) if out is None else out
    flat = sums.reshape(positions.shape)
    column = _column(guide, dtype)

    def multiply(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = positions[first:end]
            product = workspace(strip.size, dtype).reshape(strip.shape)
            np.matmul(strip, symmetric, out=product)
            if column is not None:
                product *= column[first:end]
            flat[first:end] += product

    count, channels = positions.shape
    ranges = even_strips(count, _strip_height(channels), evenness(positions.size))
    parallel_for(multiply, ranges)
    return sums


def mean_gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix as a mean over the positions.

    Parameters
    ----------
    F : array (height, width, channels)
        Activations.
    guide : array (height, width) with sum 1, optional
        w; 1/M at every position by default.

    Returns
    -------
    array (channels, channels)
        G/M.
    """
    if guide is not None:
        return gram(F, guide)
    positions = F.shape[0] * F.shape[1]
    mean: Array = gram(F) / F.dtype.type(positions)
    return mean


def _strip_height(channels: int) -> int:
    return max(STRIP_POSITIONS, STRIP_VALUES // channels)


def _column(guide: Array | None, dtype: np.dtype[Any]) -> Array | None:
    return None if guide is None else guide.reshape(-1, 1).astype(dtype, copy=False)
