r"""The preconditioned search: other coordinates for the same picture.

L-BFGS starts from the model that the loss curves equally along every coordinate (a Hessian c I).
For pixels this model is wrong: broad colours have to change far more than grain. Therefore the
search moves other numbers w, one for each frequency of each colour channel. With the picture x_0
that it starts from, and w = 0 there, the pixels are

    x = x_0 + D^T (s w)

D is the orthonormal discrete cosine transform in two dimensions, D^T = D^(-1) its inverse. In one
dimension, on n numbers, it is the matrix

    D[k, i] = sqrt(2 / n) cos(pi (i + 1/2) k / n),     D[0, i] = sqrt(1 / n)

whose rows are cosine waves of k / (2 n) cycles per pixel; in two dimensions it is applied to the
columns and then to the rows. s holds a factor for each frequency f = sqrt(f_y^2 + f_x^2):

    s(f) = c / min(max(f, f_0), f_1)^p

with c such that the mean of s^2 is 1. The chain rule gives

    df/dw = s (D df/dx)

The effect on L-BFGS: a Hessian H for x is T^T H T for w, with T = D^T diag(s). L-BFGS starts from
c I for w, and therefore from c D^T diag(1 / s^2) D for x. So it expects a curvature proportional to
f^(2 p), and its first step moves each frequency in proportion to s^2.

The search could also move z = D^T w. Then x = x_0 + S z with the symmetric matrix

    S = D^T diag(s) D,     df/dz = S^T df/dx = S df/dx

Both searches take the same steps, because L-BFGS is built from inner products and the rotation D
does not change them. But w needs one transform where z needs two.
"""

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


def spectrum(height: int, width: int, exponent: float, lowest: float, highest: float) -> Array:
    """Return the factor of each frequency of an image.

    Parameters
    ----------
    height, width : int
        Size of the image.
    exponent : float
        p; 0 gives the same factor for all.
    lowest, highest : float
        f_0 and f_1, in cycles per pixel (the highest frequency of an image is 0.7): below the one
        and above the other, s is constant.

    Returns
    -------
    float64 array (height, width, 1)
        s.
    """
    f_y, f_x = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
    f = np.sqrt(f_y[:, None] ** 2 + f_x**2)
    s = np.clip(f, lowest, highest) ** -exponent
    return s[:, :, None] / np.sqrt(np.mean(s**2))


def precondition(w: Array, s: Array) -> Array:
    """From the coordinates of the search to the change of the picture.

    Parameters
    ----------
    w : array (height, width, channels)
    s : array (height, width, 1)

    Returns
    -------
    array (height, width, channels)
        x - x_0 = D^T (s w).
    """
    rows, columns = dct_matrix(w.shape[0]), dct_matrix(w.shape[1])
    return np.einsum("ki,lj,klc->ijc", rows, columns, s * w)


def precondition_backward(upstream: Array, s: Array) -> Array:
    """Derivative of `precondition`: df/dw from df/dx, an array of its shape, and s."""
    rows, columns = dct_matrix(upstream.shape[0]), dct_matrix(upstream.shape[1])
    return s * np.einsum("ki,lj,ijc->klc", rows, columns, upstream)
