"""Instance normalisation in few passes over memory; the formulas are in `npstyle.maths`.

Forward, the statistics of a channel make the normalisation a line, y = (a/s) x + (b - a m/s), which
is one pass. Backward, so is the gradient: with the two sums A = sum g and B = sum g n,

    dL/dx = a/s (g - A/M - n B/M) = c_1 g + c_2 x + c_3

Each strip of rows has its own sums, which are added in order, so that the result does not depend on
the number of threads. Mean and variance are combined from those of the strips: Chan, Golub and
LeVeque, "Algorithms for computing the sample variance" (1983).
"""

from collections.abc import Iterator

import numpy as np

from npstyle.engine.arena import empty
from npstyle.engine.cpu.rows import as_rows, for_a_row
from npstyle.engine.strips import Range, strips_of
from npstyle.engine.threads import parallel_for, workspace
from npstyle.maths.array import Array

STRIP_BYTES = 1 << 19
"""Memory of a strip, in bytes; it stays in a core's cache."""

Statistics = tuple[Array, Array]
"""m and 1/s of every channel, arrays (channels,) in float64."""


def instance_statistics(image: Array, epsilon: float = 1e-5) -> Statistics:
    """Return the mean m and the inverse deviation 1/s = 1/sqrt(v + epsilon) of every channel.

    Parameters
    ----------
    image : array (height, width, channels)
        X, any float dtype.
    epsilon : float

    Returns
    -------
    m, inverse : float64 arrays (channels,)
    """
    ranges = strips_of(image, STRIP_BYTES)
    means, squares = np.empty((2, len(ranges), image.shape[2]))
    counts = np.array([end - first for first, end in ranges], np.float64) * image.shape[1]

    def work(queue: Iterator[tuple[int, Range]]) -> None:
        for k, (first, end) in queue:
            strip = image[first:end]
            means[k] = _sums(strip) / counts[k]
            values = workspace(strip.size, strip.dtype).reshape(strip.shape)
            rows = as_rows(values)
            np.subtract(as_rows(strip), for_a_row(means[k], image), out=rows)
            np.multiply(rows, rows, out=rows)
            squares[k] = _sums(values)

    parallel_for(work, enumerate(ranges))
    M = counts.sum()
    m = counts @ means / M
    variance = (squares.sum(axis=0) + counts @ (means - m) ** 2) / M
    return m, 1 / np.sqrt(variance + epsilon)


def instance_norm(
    image: Array,
    scale: Array,
    shift: Array,
    epsilon: float = 1e-5,
    statistics: Statistics | None = None,
    out: Array | None = None,
    *,
    rectify: bool = False,
) -> Array:
    """Normalise every channel.

    Parameters
    ----------
    image : array (height, width, channels)
        X, any float dtype.
    scale, shift : arrays (channels,)
        a and b.
    epsilon : float
    statistics : optional
        Those of the image, if they are known.
    out : array (height, width, channels), optional
        Receives the result; may be X itself.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (height, width, channels)
        Y, or max(Y, 0).
    """
    m, inverse = statistics or instance_statistics(image, epsilon)
    result = empty(image.shape, image.dtype) if out is None else out
    factor = for_a_row(scale * inverse, image)
    offset = for_a_row(shift - scale * inverse * m, image)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = as_rows(result[first:end])
            np.multiply(as_rows(image[first:end]), factor, out=strip)
            strip += offset
            if rectify:
                np.maximum(strip, 0, out=strip)

    parallel_for(work, strips_of(image, STRIP_BYTES))
    return result


def instance_norm_backward(
    upstream: Array,
    image: Array,
    scale: Array,
    epsilon: float = 1e-5,
    statistics: Statistics | None = None,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Derivative of `instance_norm` with respect to image, scale and shift.

    Parameters
    ----------
    upstream : array (height, width, channels)
        g = dL/dY.
    image, scale, epsilon, statistics
        As in `instance_norm`.
    out : array (height, width, channels), optional
        Receives dL/dX; may be `upstream` itself.

    Returns
    -------
    gradient : array (height, width, channels)
        dL/dX.
    scale_gradient, shift_gradient : float64 arrays (channels,)
        dL/da and dL/db.
    """
    m, inverse = statistics or instance_statistics(image, epsilon)
    ranges = strips_of(image, STRIP_BYTES)
    partial = np.empty((2, len(ranges), image.shape[2]))
    mean = for_a_row(m, image)

    def add_up(queue: Iterator[tuple[int, Range]]) -> None:
        for k, (first, end) in queue:
            g = upstream[first:end]
            product = workspace(g.size, g.dtype).reshape(g.shape)
            rows = as_rows(product)
            np.subtract(as_rows(image[first:end]), mean, out=rows)
            rows *= as_rows(g)
            partial[0, k], partial[1, k] = _sums(g), _sums(product)

    parallel_for(add_up, enumerate(ranges))
    A, B = partial.sum(axis=1)
    B *= inverse
    M = image.shape[0] * image.shape[1]
    of_g = scale * inverse
    of_x = -of_g * inverse * B / M
    constant = -of_g * A / M - of_x * m
    c_1, c_2, c_3 = (for_a_row(c, upstream) for c in (of_g, of_x, constant))
    result = empty(upstream.shape, upstream.dtype) if out is None else out

    def combine(queue: Iterator[Range]) -> None:
        for first, end in queue:
            strip = as_rows(result[first:end])
            product = workspace(strip.size, strip.dtype).reshape(strip.shape)
            np.multiply(as_rows(image[first:end]), c_2, out=product)
            product += c_3
            np.multiply(as_rows(upstream[first:end]), c_1, out=strip)
            strip += product

    parallel_for(combine, ranges)
    return result, B, A


def _sums(values: Array) -> Array:
    """Sum of each channel, as a product with ones, which BLAS computes."""
    positions = values.reshape(-1, values.shape[2])
    return np.ones(len(positions), values.dtype) @ positions
