r"""The preconditioned search: other coordinates for the same picture.

L-BFGS starts from the model that the loss curves equally along every coordinate (a Hessian
lambda I). For pixels this model is wrong: broad patches have to change far more than grain, and
brightness more than hue. Therefore the search moves other numbers w, one for each frequency of each
colour. With the picture x_0 that it starts from, and w = 0 there, the pixels are

    x = x_0 + D^T (s w)

before the reflection at the box (`npstyle.maths.box`). D is the orthonormal discrete cosine
transform in three dimensions, D^T = D^(-1) its inverse. In one dimension, on n numbers, it is the
matrix

    D[k, i] = sqrt(2 / n) cos(pi (i + 1/2) k / n),     D[0, i] = sqrt(1 / n)

It is applied to the columns, to the rows, and to the three channels of every pixel. For columns and
rows, row k of the matrix is a cosine wave of k / (2 n) cycles per pixel. For red, green and blue
the three rows are colours: k = 0 is grey, k = 1 sets red against blue, and k = 2 sets green against
both. Let f_y and f_x be the frequencies along a column and along a row. s holds a factor for each
frequency f = sqrt(f_y^2 + f_x^2) and each of these colours:

    s_k(f) = c g_k / min(max(f, f_0), f_1)^p

The numbers p, f_0, f_1 and g_k are chosen, and c is such that the mean of s^2 is 1. For a loss L
the chain rule gives

    dL/dw = s (D dL/dx)

The effect on L-BFGS: a Hessian H for x is T^T H T for w, with T = D^T diag(s). L-BFGS starts from
lambda I for w, and therefore from lambda D^T diag(1 / s^2) D for x. So it expects a curvature
proportional to f^(2 p) between f_0 and f_1, and its first step moves each frequency of each colour
in proportion to s^2 times the gradient there.

The search could also move z = D^T w. Then x = x_0 + S z with the symmetric matrix

    S = D^T diag(s) D,     dL/dz = S^T dL/dx = S dL/dx

Both searches take the same steps, because L-BFGS is built from inner products and the rotation D
does not change them. But w needs one transform where z needs two.
"""

from collections.abc import Sequence

import numpy as np

from npstyle.maths.array import Array


def dct_matrix(n: int) -> Array:
    """Return the orthonormal cosine transform of n numbers.

    Returns
    -------
    float64 array (n, n)
        D, a row for each frequency.
    """
    k, i = np.arange(n)[:, None], np.arange(n)
    D = np.sqrt(2 / n) * np.cos(np.pi * (i + 0.5) * k / n)
    D[0] = np.sqrt(1 / n)
    return D


def spectrum(
    height: int,
    width: int,
    exponent: float,
    lowest: float,
    highest: float,
    colors: Sequence[float],
) -> Array:
    """Return the factor of each frequency of each colour of an image.

    Parameters
    ----------
    height, width : int
        Size of the image.
    exponent : float
        p; 0 gives the same factor for all.
    lowest, highest : float
        f_0 and f_1, in cycles per pixel (the highest frequency of an image is 0.7): below the one
        and above the other, s is constant.
    colors : sequence of float
        g, a number for each of the channels' cosine waves.

    Returns
    -------
    float64 array (height, width, channels)
        s.
    """
    f_y, f_x = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
    f = np.sqrt(f_y[:, None] ** 2 + f_x**2)
    s = np.clip(f, lowest, highest)[:, :, None] ** -exponent * np.asarray(colors)
    return s / np.sqrt(np.mean(s**2))


def precondition(w: Array, s: Array) -> Array:
    """From the coordinates of the search to the change of the picture.

    Parameters
    ----------
    w, s : arrays (height, width, channels)

    Returns
    -------
    array (height, width, channels)
        x - x_0 = D^T (s w).
    """
    rows, columns, colors = (dct_matrix(n) for n in w.shape)
    return np.einsum("ki,lj,mc,klm->ijc", rows, columns, colors, s * w, optimize=True)


def precondition_backward(upstream: Array, s: Array) -> Array:
    """Derivative of `precondition`: dL/dw from dL/dx, an array of its shape, and s."""
    rows, columns, colors = (dct_matrix(n) for n in upstream.shape)
    return s * np.einsum("ki,lj,mc,ijc->klm", rows, columns, colors, upstream, optimize=True)
