"""Vector operations of the search: reflection at the walls of the box, products with a matrix B.

L-BFGS (`npstyle.search.lbfgs`) keeps its history and the gradient as the rows of a matrix B, one
column per number of the image. B may be float32, to save memory, and it may be a memory map.
Therefore products are computed in strips of columns: each strip is converted to float64, and the
pages of a memory map are released after each strip.

`mirror` and `mirror_backward` are those of `npstyle.maths.box`: they are a few NumPy operations,
and another version would not be faster.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.disk import let_go
from npstyle.engine.strips import strips
from npstyle.maths.array import Array
from npstyle.maths.box import mirror, mirror_backward

__all__ = ["combination", "inner_products", "mirror", "mirror_backward"]

STRIP = 1 << 15
"""Columns of B that are multiplied at a time; a strip of 23 rows in float64 takes 6 MB."""


def inner_products(basis: Array, rows: Sequence[int]) -> NDArray[np.float64]:
    """Inner products of all rows of B with some of them: B B[rows]^T, summed in float64.

    Parameters
    ----------
    basis : float32 or float64 array (K, n)
        B. It may be a memory map.
    rows : sequence of R ints
        Indices of rows, counted from 0.

    Returns
    -------
    float64 array (K, R)
    """
    sums = np.zeros((len(basis), len(rows)))
    for first, end in strips(basis.shape[1], STRIP):
        part = basis[:, first:end].astype(np.float64, copy=False)
        sums += part @ part[list(rows)].T
        let_go(basis)
    return sums


def combination(coefficients: NDArray[np.float64], basis: Array) -> NDArray[np.float64]:
    """Linear combination of the rows of B: c B, summed in float64.

    Parameters
    ----------
    coefficients : float64 array (K,)
        c.
    basis : float32 or float64 array (K, n)
        B. It may be a memory map.

    Returns
    -------
    float64 array (n,)
    """
    out = np.empty(basis.shape[1])
    for first, end in strips(basis.shape[1], STRIP):
        part = basis[:, first:end].astype(np.float64, copy=False)
        np.matmul(coefficients, part, out=out[first:end])
        let_go(basis)
    return out
