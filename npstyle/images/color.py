"""Preserve the colours of the photo.

Gatys et al. 2016 ("Preserving color in neural artistic style transfer", arXiv 1606.05897) describe
two methods.

Luminance only (section 3)
    The luminance of a pixel (R, G, B) is Y = 0.299 R + 0.587 G + 0.114 B (the Y of YIQ). The
    transfer runs on the grey photo and the grey painting. The result combines the Y of the transfer
    with the chroma (R - Y, G - Y, B - Y) of the photo. Before the transfer, the luminance of the
    painting is matched to that of the photo,

        L' = (sigma_C / sigma_S) (L - mu_S) + mu_C

Colour matching (section 2)
    The colours x of the painting are transformed to the mean and covariance of the photo's colours
    before an ordinary transfer:

        x' = A x + b,     A = Sigma_C^(1/2) Sigma_S^(-1/2),     b = mu_C - A mu_S

    Several matrices satisfy A Sigma_S A^T = Sigma_C. The paper names this one, from Hertzmann's
    "Image analogies"; it changes colours less than the Cholesky factors.

A picture is an array (height, width, 3), RGB, 0..255.
"""

from typing import Literal

import numpy as np

from npstyle.maths.array import Array

Color = Literal["painting", "luminance", "histogram"]

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Coefficients of R, G and B in the luminance."""

FLAT = 1e-6
"""Variances below this value, or below this fraction of the largest variance, count as 0."""


def luminance(pixels: Array) -> Array:
    """Return the luminance Y of each pixel, (height, width), 0..255."""
    Y: Array = pixels @ LUMINANCE
    return Y


def grey(plane: Array) -> Array:
    """Return the grey picture (height, width, 3) with this luminance (height, width)."""
    return np.repeat(plane[:, :, np.newaxis], 3, axis=2)


def match_luminance(painting: Array, photo: Array) -> Array:
    """Return the grey painting with the mean and standard deviation of the photo's luminance.

    Parameters
    ----------
    painting, photo : arrays (height, width, 3), not necessarily of the same size

    Returns
    -------
    array (height, width, 3)
        Clipped to 0..255. A painting of constant luminance becomes the mean of the photo.
    """
    source, target = luminance(painting), luminance(photo)
    factor = target.std() / source.std() if source.std() > FLAT else 0.0
    return np.clip(grey(factor * (source - source.mean()) + target.mean()), 0, 255)


def put_back_chroma(picture: Array, photo: Array) -> Array:
    """Combine the luminance of a picture with the chroma of the photo.

    Parameters
    ----------
    picture, photo : arrays (height, width, 3) of the same size

    Returns
    -------
    array (height, width, 3)
        Where the sum would be outside 0..255, the luminance is changed and the chroma is kept.
    """
    chroma = photo - luminance(photo)[:, :, np.newaxis]
    plane = np.clip(luminance(picture), -chroma.min(axis=2), 255 - chroma.max(axis=2))
    return chroma + plane[:, :, np.newaxis]


def match_colors(painting: Array, photo: Array) -> Array:
    """Transform the painting to the mean and covariance of the photo's colours.

    Parameters
    ----------
    painting, photo : arrays (height, width, 3), not necessarily of the same size

    Returns
    -------
    array (height, width, 3)
        Clipped to 0..255. Directions in which the painting's colours do not vary stay constant.
    """
    x, target = painting.reshape(-1, 3), photo.reshape(-1, 3)
    root = _power(np.cov(target.T, bias=True), 0.5)
    whitening = _power(np.cov(x.T, bias=True), -0.5)
    A = root @ whitening
    matched = (x - x.mean(axis=0)) @ A.T + target.mean(axis=0)
    return np.clip(matched, 0, 255).reshape(painting.shape)


def with_statistics(noise: Array, painting: Array) -> Array:
    """Transform white noise of variance 1 to the mean and covariance of the painting's colours."""
    colors = painting.reshape(-1, 3)
    root = _power(np.cov(colors.T, bias=True), 0.5)
    return np.clip(noise @ root + colors.mean(axis=0), 0, 255)


def _power(covariance: Array, exponent: float) -> Array:
    """Raise a symmetric matrix to a power by its eigenvalues. Those that count as 0 stay 0."""
    values, vectors = np.linalg.eigh(covariance)
    varies = values > max(FLAT, FLAT * values[-1])
    powers = np.zeros_like(values)
    powers[varies] = values[varies] ** exponent
    return (vectors * powers) @ vectors.T
