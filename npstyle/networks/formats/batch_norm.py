"""Fold batch normalisation into the convolution before it.

In inference, a batch normalisation is an affine map per channel, with constants from the training:

    y = gamma (z - mu) / sqrt(var + epsilon) + beta,    z = K * x + b

Let g = gamma / sqrt(var + epsilon). Then y = (g K) * x + (g (b - mu) + beta), which is one
convolution with the kernel g K and the bias g (b - mu) + beta. The zeros that pad x stay outside of
both, so the equation also holds at the edges of the picture.

Source: Ioffe and Szegedy, "Batch normalization" (arXiv 1502.03167), algorithm 2.
"""

import numpy as np

from npstyle.maths.array import Array

EPSILON = 1e-5
"""Added to every variance; the default of PyTorch's normalisation."""


def fold(
    kernel: Array, bias: Array, gamma: Array, beta: Array, mean: Array, variance: Array
) -> tuple[Array, Array]:
    """Return the kernel and the bias of a convolution followed by a batch normalisation.

    Parameters
    ----------
    kernel : array (out, in, kernel height, kernel width)
    bias, gamma, beta, mean, variance : arrays (out,)

    Returns
    -------
    kernel, bias : arrays of the same shapes
        Computed in float64, in the precision of the kernel but at least in float32.
    """
    with np.errstate(invalid="ignore"):  # a negative variance gives NaN, which is refused later
        g = gamma / np.sqrt(variance.astype(np.float64) + EPSILON)
        folded = kernel * g[:, np.newaxis, np.newaxis, np.newaxis]
        shifted = g * (bias.astype(np.float64) - mean) + beta
    dtype = np.result_type(kernel, np.float32)
    return folded.astype(dtype), shifted.astype(dtype)
