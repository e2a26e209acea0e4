"""Gram matrices on a GPU: `npstyle.maths.gram`. Matrix products are cuBLAS's."""

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import launch, matmul, place
from npstyle.maths.array import Array


def gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix of one layer's activations, summed over the positions.

    Parameters
    ----------
    F : float32 or float64 array (height, width, channels)
    guide : array (height, width), optional
        w, in the dtype of F; 1 at every position by default.

    Returns
    -------
    array (channels, channels)
        G.
    """
    positions = F.reshape(-1, F.shape[-1])
    counted = positions if guide is None else positions * guide.reshape(-1, 1)
    return matmul(counted.T, positions)


def gram_backward(
    D: Array, F: Array, guide: Array | None = None, out: Array | None = None
) -> Array:
    """Derivative of `gram` with respect to the activations.

    Parameters
    ----------
    D : array (channels, channels)
        dL/dG, in the dtype of F; it need not be symmetric.
    F : array (height, width, channels)
    guide : array (height, width), optional
        As in `gram`.
    out : array (height, width, channels), optional
        The derivative is added to it.

    Returns
    -------
    array (height, width, channels)
        dL/dF; with `out`, that array.
    """
    return multiply_slope(F, place(D + D.T), guide, out)


def mean_gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix as a mean over the positions: G/M, or guided by w with sum 1.

    Parameters and result are those of `gram`.
    """
    if guide is not None:
        return gram(F, guide)
    return gram(F) / F.dtype.type(F.shape[0] * F.shape[1])


def multiply_slope(F: Array, slope: Array, guide: Array | None, out: Array | None) -> Array:
    """Return F (D + D^T), each position multiplied by its guide, and added to `out`.

    Parameters
    ----------
    F : array (height, width, channels)
    slope : array (channels, channels)
        D + D^T.
    guide : array (height, width) or None
    out : array (height, width, channels) or None
    """
    height, width, channels = F.shape
    product = matmul(F.reshape(-1, channels), slope).reshape(F.shape)
    if guide is None and out is None:
        return product
    result = product if out is None else out
    shape = shapes.elementwise(f"gram_backward_{F.dtype.name}", F.size)
    sizes = (np.int64(height * width), channels, int(out is not None))
    launch("losses", shape, product, guide, result, *sizes)
    return result
