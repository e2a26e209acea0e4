"""ReLU6, the sigmoid and sums on several threads; the formulas are in `npstyle.maths`."""

from collections.abc import Iterator

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.strips import Range, pieces_of
from npstyle.engine.threads import parallel_for
from npstyle.maths.array import Array
from npstyle.maths.relu import relu6_backward
from npstyle.maths.sigmoid import sigmoid_backward

__all__ = ["add", "relu6", "relu6_backward", "sigmoid", "sigmoid_backward"]


def relu6(pre_activation: Array, out: Array | None = None) -> Array:
    """F = min(max(Z, 0), 6), an array of the shape of Z; `out` receives it and may be Z itself."""
    result = empty(pre_activation.shape, pre_activation.dtype) if out is None else out

    def limit(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.clip(pre_activation[first:end], 0, 6, out=result[first:end])

    parallel_for(limit, pieces_of(result))
    return result


def sigmoid(Z: Array, out: Array | None = None) -> Array:
    """Y = (1 + tanh(Z / 2)) / 2, an array of the shape of Z; `out` may be Z itself."""
    result = empty(Z.shape, Z.dtype) if out is None else out

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = result[first:end]
            np.multiply(Z[first:end], 0.5, out=strip)
            np.tanh(strip, out=strip)
            strip += 1
            strip *= 0.5

    parallel_for(work, pieces_of(result))
    return result


def add(X: Array, S: Array, out: Array | None = None) -> Array:
    """Y = X + S, the residual sum of two arrays of one shape; `out` may be X itself."""
    result = empty(X.shape, X.dtype) if out is None else out

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.add(X[first:end], S[first:end], out=result[first:end])

    parallel_for(work, pieces_of(result))
    return result
