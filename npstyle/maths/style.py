"""The style loss: how far a picture's Gram matrix is from the painting's.

A layer has N channels. The picture has M positions and the Gram matrix G; the painting's Gram
matrix is A (Gatys et al. 2015, equations 4 and 6):

    E = 1/(4 N^2 M^2) sum (G - A)^2
    dE/dF = 1/(N^2 M^2) (G - A) F

(The paper adds "where F > 0, else 0", the derivative of the ReLU; see `npstyle.maths.content`.)

The paper assumes that both have M positions. A painting may have another size, M_a positions, so
each matrix is divided by its own number of positions, G' = G / M and A' = A / M_a:

    E = 1/(4 N^2) sum (G' - A')^2
    D = dE/dG' = 1/(2 N^2) (G' - A')
    dE/dF = 1/M (D + D^T) F = 1/(N^2 M) (G' - A') F

the paper's formula where the sizes agree. A guide w compares a region only (`npstyle.maths.gram`):
G' = sum_k w_k F_k F_k^T, where F_k is column k of F, and w_k takes the place of 1/M.
"""

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.gram import mean_gram, mean_gram_backward


def style_loss(F: Array, A: Array, guide: Array | None = None) -> Array:
    """Squared distance of two Gram matrices, divided by 4 N^2.

    Parameters
    ----------
    F : array (height, width, channels)
        The picture's activations.
    A : array (channels, channels)
        A', the painting's Gram matrix divided by its number of positions (`mean_gram`).
    guide : array (height, width) with sum 1, optional
        The region of the picture to compare; all of it by default.

    Returns
    -------
    scalar
        E.
    """
    N = len(A)
    return np.sum((mean_gram(F, guide) - A) ** 2) / (4 * N**2)


def style_loss_backward(F: Array, A: Array, guide: Array | None = None) -> Array:
    """Derivative of `style_loss` with respect to F, of the shape of F."""
    N = len(A)
    D = (mean_gram(F, guide) - A) / F.dtype.type(2 * N**2)
    return mean_gram_backward(D, F, guide)
