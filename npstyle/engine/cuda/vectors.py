"""Vector operations of the search on a GPU, with the kernels of `search.cu`.

`mirror` is that of `npstyle.maths.box`; the inner products are those of L-BFGS.
"""

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch, place, to_host
from npstyle.maths.array import Array


def mirror(z: Array) -> Array:
    """Reflect numbers, an array of any shape, at the walls of the box: x, 0..255."""
    out = empty(z.shape, np.float64)
    launch("search", shapes.elementwise("mirror", z.size), z, out, np.int64(z.size))
    return out


def mirror_backward(upstream: Array, z: Array) -> Array:
    """Derivative of `mirror`: df/dz from df/dx and z, arrays of the same shape.

    The result may take the place of z.
    """
    out = empty(z.shape, np.float64)
    shape = shapes.elementwise("mirror_backward", z.size)
    launch("search", shape, upstream, z, out, np.int64(z.size))
    return out


def inner_products(basis: Array, vector: Array) -> Array:
    """Inner products of every row of a matrix B with a vector.

    Parameters
    ----------
    basis : float32 or float64 array (rows of B, length), on the GPU
    vector : array (length,), of the same dtype, on the GPU
        v.

    Returns
    -------
    float64 array (rows of B,), on the host
        B v, summed in float64.
    """
    count, length = basis.shape
    shape = shapes.inner_products(basis.dtype.name, count, length)
    blocks = shape.grid[0]
    partial, products = empty((blocks, count), np.float64), empty((count,), np.float64)
    launch("search", shape, basis, vector, partial, np.int64(length))
    total = shapes.elementwise("inner_products_total", products.size)
    launch("search", total, partial, products, blocks, products.size)
    return to_host(products)


def combination(coefficients: Array, basis: Array) -> Array:
    """Return sum_k c_k B_k, the rows of B each times its coefficient.

    Parameters
    ----------
    coefficients : float64 array (rows of B,), on the host
    basis : float32 or float64 array (rows of B, length), on the GPU

    Returns
    -------
    array (length,), on the GPU
        In the precision of B.
    """
    return place(coefficients, basis.dtype) @ basis
