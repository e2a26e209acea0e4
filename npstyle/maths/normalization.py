"""Instance normalisation: mean 0 and variance 1 for every channel of a picture.

Forward
-------
A channel x_1, ..., x_M of the image is shifted and scaled by its own statistics, and then by two
parameters, the scale a and the shift b:

    m = 1/M sum_k x_k       v = 1/M sum_k (x_k - m)^2       s = sqrt(v + epsilon)
    n_k = (x_k - m) / s
    y_k = a n_k + b

Derivatives
-----------
Let g_k = dL/dy_k arrive from above. Then

    dL/da = sum_k g_k n_k       dL/db = sum_k g_k       h_k = dL/dn_k = a g_k

A value x_i enters every n_k, through the mean and through the variance too. With delta_ki = 1 for
k = i, else 0, and because the deviations x_k - m sum to 0,

    dm/dx_i = 1/M       dv/dx_i = 2/M sum_k (x_k - m) (delta_ki - 1/M) = 2/M (x_i - m)

    ds/dx_i = 1/(2 s) dv/dx_i = n_i / M

    dn_k/dx_i = 1/s (delta_ki - 1/M) - (x_k - m)/s^2 ds/dx_i = 1/s (delta_ki - 1/M - n_k n_i / M)

    dL/dx_i = sum_k h_k dn_k/dx_i = 1/s (h_i - mean(h) - n_i mean(h n))

So the gradient loses its mean and, up to epsilon, its component along n. A step of the channel in
either of these directions has no effect: the first only shifts it, the second only scales it.

Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization" (arXiv 1607.08022). For scales and
shifts that depend on the style see `npstyle.maths.conditional`.
"""

import numpy as np

from npstyle.maths.array import Array


def instance_norm(image: Array, scale: Array, shift: Array, epsilon: float = 1e-5) -> Array:
    """Normalise every channel.

    Parameters
    ----------
    image : array (height, width, channels)
        X.
    scale, shift : arrays (channels,)
        a and b.
    epsilon : float
        Added to the variance, so that a constant channel does not divide by 0.

    Returns
    -------
    array (height, width, channels)
        Y.
    """
    n, _ = _normalized(image, epsilon)
    return scale * n + shift


def instance_norm_backward(
    upstream: Array, image: Array, scale: Array, epsilon: float = 1e-5
) -> Array:
    """Derivative of `instance_norm` with respect to the image: dL/dX from dL/dY."""
    n, s = _normalized(image, epsilon)
    h = scale * upstream
    return (h - _mean(h) - n * _mean(h * n)) / s


def instance_norm_backward_weights(
    upstream: Array, image: Array, epsilon: float = 1e-5
) -> tuple[Array, Array]:
    """Derivative of `instance_norm` with respect to scale and shift, arrays (channels,)."""
    n, _ = _normalized(image, epsilon)
    return np.sum(upstream * n, axis=(0, 1)), np.sum(upstream, axis=(0, 1))


def _normalized(image: Array, epsilon: float) -> tuple[Array, Array]:
    """n and s."""
    deviation = image - _mean(image)
    s = np.sqrt(_mean(deviation**2) + image.dtype.type(epsilon))
    return deviation / s, s


def _mean(array: Array) -> Array:
    """Mean of each channel."""
    return np.mean(array, axis=(0, 1), dtype=array.dtype)
