"""What the search does with whole pictures, on an NVIDIA card.

The twins of `npstyle.search.box.mirror`, `mirror_backward`, and of the inner products of
`npstyle.search.lbfgs`, in float64.
"""

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cuda import launch as cuda
from npstyle.engine.cuda.arrays import Array, empty, launch, to_device, to_host


def mirror(z: Array) -> Array:
    """The numbers reflected at the walls, |z - 510 round(z / 510)|."""
    out = empty(z.shape, np.float64)
    launch("search", cuda.elementwise("mirror", z.size), z, out, np.int64(z.size))
    return out


def mirror_backward(gradient: Array, z: Array) -> Array:
    """dL/dz."""
    out = empty(z.shape, np.float64)
    shape = cuda.elementwise("mirror_backward", z.size)
    launch("search", shape, gradient, z, out, np.int64(z.size))
    return out


def inner_products(basis: Array, rows: tuple[int, int, int]) -> NDArray[np.float64]:
    """B B[rows]^T (rows of B, 3), on the host."""
    count, length = basis.shape
    shape = cuda.inner_products(count, length)
    shares = shape.grid[0]
    partial, products = empty((shares, count, 3), np.float64), empty((count, 3), np.float64)
    launch("search", shape, basis, partial, np.int64(length), *rows)
    total = cuda.elementwise("inner_products_total", products.size)
    launch("search", total, partial, products, shares, products.size)
    return to_host(products)


def combination(coefficients: NDArray[np.float64], basis: Array) -> Array:
    """Row c times B: the sum of the rows, each times its coefficient."""
    return to_device(coefficients) @ basis
