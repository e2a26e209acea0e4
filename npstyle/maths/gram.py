"""The Gram matrix: which features occur together, wherever they occur.

Forward
-------
A layer with N filters and M = height x width positions has activations F, N x M. Gatys et al. 2015,
equation 3:

    G_ij = sum_k F_ik F_jk,     G = F F^T,     N x N, symmetric

Derivative
----------
F_ik occurs in row i and in column i of G: the derivative of G_ij and of G_ji by F_ik is F_jk, and
that of G_ii is 2 F_ik, once for the row and once for the column. With D = dL/dG,

    dL/dF_ik = sum_j (D_ij + D_ji) F_jk,     dL/dF = (D + D^T) F

Arrays here keep the channels last, (height, width, N). As a matrix, positions x channels, that is
F^T, so the code reads G = (F^T)^T F^T and dL/dF^T = F^T (D + D^T).

The guide
---------
A guide w says how much each position counts: w_k = 1/M for all of them gives the mean over the
picture, and a guide with sum 1 that is large in a region and 0 elsewhere gives the mean over the
region,

    G_ij = sum_k w_k F_ik F_jk,     dL/dF_ik = w_k sum_j (D_ij + D_ji) F_jk

(Gatys et al. 2017, arXiv 1611.07865, section 4, whose guidance channel is the square root of w.)
"""

from npstyle.maths.array import Array


def gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix of one layer's activations, summed over the positions.

    Parameters
    ----------
    F : array (height, width, channels)
        Activations.
    guide : array (height, width), optional
        w; 1 at every position by default.

    Returns
    -------
    array (channels, channels)
        G.
    """
    positions = F.reshape(-1, F.shape[2])
    counted = positions if guide is None else positions * guide.reshape(-1, 1)
    return counted.T @ positions


def gram_backward(D: Array, F: Array, guide: Array | None = None) -> Array:
    """Derivative of `gram` with respect to the activations.

    Parameters
    ----------
    D : array (channels, channels)
        dL/dG; it need not be symmetric.
    F : array (height, width, channels)
        Activations.
    guide : array (height, width), optional
        As in `gram`.

    Returns
    -------
    array (height, width, channels)
        dL/dF.
    """
    gradient = F @ (D + D.T)
    return gradient if guide is None else gradient * guide[:, :, None]


def mean_gram(F: Array, guide: Array | None = None) -> Array:
    """Gram matrix as a mean over the positions: G/M, or guided by w with sum 1.

    It does not depend on the size of the picture, so a photo and a painting of different sizes can
    be compared.

    Parameters
    ----------
    F : array (height, width, channels)
        Activations.
    guide : array (height, width) with sum 1, optional
        1/M at every position by default.

    Returns
    -------
    array (channels, channels)
    """
    return gram(F, guide) if guide is not None else gram(F) / F.dtype.type(F[..., 0].size)


def mean_gram_backward(D: Array, F: Array, guide: Array | None = None) -> Array:
    """Derivative of `mean_gram`; parameters and result are those of `gram_backward`."""
    gradient = gram_backward(D, F, guide)
    return gradient if guide is not None else gradient / F.dtype.type(F[..., 0].size)
