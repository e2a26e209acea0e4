r"""Vector operations of the search: reflection at the walls of the box, products with its matrix B.

L-BFGS (`npstyle.search.lbfgs`) keeps its history and the gradient as the rows of a matrix B, one
column per number of the image. B may be a memory map. Therefore products are computed in strips of
columns, and the pages of a memory map are released after each strip. A strip is multiplied in the
precision of B; the sums over strips are float64.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.disk import let_go
from npstyle.engine.strips import Range, strips
from npstyle.engine.threads import parallel_for
from npstyle.maths import box
from npstyle.maths.array import Array

STRIP = 1 << 15
"""Columns at a time. With strips of 4096, two threads took longer than one."""


def mirror(z: Array) -> Array:
    """Reflect numbers, an array of any shape, at the walls of the box: x, 0..255."""
    out = np.empty(z.shape)
    flat, given = out.reshape(-1), z.reshape(-1)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            flat[first:end] = box.mirror(given[first:end])

    parallel_for(work, strips(z.size, STRIP))
    return out


def mirror_backward(upstream: Array, z: Array) -> Array:
    """Derivative of `mirror`: df/dz from df/dx and z, contiguous arrays of one shape.

    The result may take the place of z, which spares the search a copy of the picture.
    """
    flat, above = z.reshape(-1), upstream.reshape(-1)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            flat[first:end] = box.mirror_backward(above[first:end], flat[first:end])

    parallel_for(work, strips(z.size, STRIP))
    return z


def inner_products(basis: Array, vector: Array) -> NDArray[np.float64]:
    """Inner products of all rows of B with a vector: B v.

    Parameters
    ----------
    basis : float32 or float64 array (K, n)
        B. It may be a memory map.
    vector : array (n,), of the same dtype
        v.

    Returns
    -------
    float64 array (K,)
    """
    columns = strips(basis.shape[1], STRIP)
    sums = np.empty((len(columns), len(basis)), basis.dtype)

    def work(queue: Iterator[tuple[int, Range]]) -> None:
        for k, (first, end) in queue:
            np.matmul(basis[:, first:end], vector[first:end], out=sums[k])
            let_go(basis)

    parallel_for(work, zip(count(), columns, strict=False))
    total: NDArray[np.float64] = sums.sum(axis=0, dtype=np.float64)
    return total


def combination(coefficients: NDArray[np.float64], basis: Array) -> Array:
    """Linear combination of the rows of B: c B.

    Parameters
    ----------
    coefficients : float64 array (K,)
        c.
    basis : float32 or float64 array (K, n)
        B. It may be a memory map.

    Returns
    -------
    array (n,)
        In the precision of B.
    """
    rounded = coefficients.astype(basis.dtype, copy=False)
    out = np.empty(basis.shape[1], basis.dtype)

    def work(queue: Iterator[Range]) -> None:
        for first, end in queue:
            np.matmul(rounded, basis[:, first:end], out=out[first:end])
            let_go(basis)

    parallel_for(work, strips(basis.shape[1], STRIP))
    return out
