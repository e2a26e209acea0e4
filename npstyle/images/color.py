"""Keeping the photo's colours.

Gatys et al. 2016 ("Preserving color in neural artistic style transfer", arXiv 1606.05897) give two
ways.

Luminance only (section 3)
    The luminance of a pixel (R, G, B) is Y = 0.299 R + 0.587 G + 0.114 B (the Y of YIQ). Photo and
    painting are turned grey, the transfer runs on these, and the photo's chroma is put back: the
    result is Y of the transfer and (R - Y, G - Y, B - Y) of the photo. The painting's luminance is
    first matched to the photo's,

        L' = (sigma_C / sigma_S) (L - mu_S) + mu_C

Colours matched (section 2)
    The painting's colours x get the photo's mean and covariance, and the transfer runs as always:

        x' = A x + b,     A = Sigma_C^(1/2) Sigma_S^(-1/2),     b = mu_C - A mu_S

    A Sigma_S A^T = Sigma_C. Of the matrices that fulfil it, the paper names this one of Hertzmann's
    "Image analogies"; it moves colours less than Cholesky's.

A picture is an array (height, width, 3), RGB, 0..255.
"""

from typing import Literal

import numpy as np

from npstyle.maths.array import Array

Color = Literal["painting", "luminance", "histogram"]

LUMINANCE = np.array([0.299, 0.587, 0.114])

FLAT = 1e-6
"""Variances below this times the largest, or below this altogether, are taken as none."""


def luminance(pixels: Array) -> Array:
    """Y of each pixel: array (height, width), 0..255."""
    grey: Array = pixels @ LUMINANCE
    return grey


def grey(plane: Array) -> Array:
    """A picture (height, width, 3) of this luminance (height, width), without colour."""
    return np.repeat(plane[:, :, np.newaxis], 3, axis=2)


def match_luminance(painting: Array, photo: Array) -> Array:
    """The painting, grey, with the mean and the deviation of the photo's luminance.

    Parameters
    ----------
    painting, photo : arrays (height, width, 3), each of its own size

    Returns
    -------
    array (height, width, 3)
        Clipped to 0..255. A painting of one single luminance becomes the photo's mean.
    """
    source, target = luminance(painting), luminance(photo)
    factor = target.std() / source.std() if source.std() > FLAT else 0.0
    return np.clip(grey(factor * (source - source.mean()) + target.mean()), 0, 255)


def put_back_chroma(picture: Array, photo: Array) -> Array:
    """The picture's luminance with the photo's chroma.

    Parameters
    ----------
    picture, photo : arrays (height, width, 3) of one size

    Returns
    -------
    array (height, width, 3)
        Where the sum would leave 0..255, the luminance gives way and the chroma stays.
    """
    chroma = photo - luminance(photo)[:, :, np.newaxis]
    plane = np.clip(luminance(picture), -chroma.min(axis=2), 255 - chroma.max(axis=2))
    return chroma + plane[:, :, np.newaxis]


def match_colors(painting: Array, photo: Array) -> Array:
    """The painting with the mean and the covariance of the photo's colours.

    Parameters
    ----------
    painting, photo : arrays (height, width, 3), each of its own size

    Returns
    -------
    array (height, width, 3)
        Clipped to 0..255. A direction in which the painting's colours do not vary stays flat.
    """
    x, target = painting.reshape(-1, 3), photo.reshape(-1, 3)
    to = _power(np.cov(target.T, bias=True), 0.5)
    away = _power(np.cov(x.T, bias=True), -0.5)
    A = to @ away
    matched = (x - x.mean(axis=0)) @ A.T + target.mean(axis=0)
    return np.clip(matched, 0, 255).reshape(painting.shape)


def with_statistics(noise: Array, painting: Array) -> Array:
    """White noise (height, width, 3) of variance 1, with the painting's mean and covariance."""
    colors = painting.reshape(-1, 3)
    spread = _power(np.cov(colors.T, bias=True), 0.5)
    return np.clip(noise @ spread + colors.mean(axis=0), 0, 255)


def _power(covariance: Array, exponent: float) -> Array:
    """A symmetric matrix to a power, by its eigenvalues; those that are all but 0 stay 0."""
    values, vectors = np.linalg.eigh(covariance)
    varies = values > max(FLAT, FLAT * values[-1])
    powers = np.zeros_like(values)
    powers[varies] = values[varies] ** exponent
    return (vectors * powers) @ vectors.T
