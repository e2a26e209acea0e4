"""Upsampling by 2 and a 3x3 convolution, as one convolution of the small image.

Let U be the image X, each pixel repeated 2 x 2 times (`npstyle.maths.upsampling`), mirrored at its
edges, and Z the convolution of U with a 3x3 kernel K and padding 1. Among the outputs Z[2y + a,
2x + b] with one phase (a, b), a and b being 0 or 1, tap (i, j) of the kernel always reads

    U[2y + a + i - 1, 2x + b + j - 1] = X[y + d(a, i), x + d(b, j)]
    d(a, i) = floor((a + i - 1) / 2)

So each phase is a convolution of X with a 3x3 kernel of its own, in which the taps that read the
same pixel are added:

    K'[1 + d, 1 + e, c, (a, b, o)] = sum of K[i, j, c, o]
                                     over i with d(a, i) = d and j with d(b, j) = e

The four phases together are one convolution with four times the filters and a quarter of the
positions, 4/9 of the multiplications of the enlarged image, which never exists. U mirrored by one
pixel repeats its outermost pixel, since that pixel's neighbour is its own copy. So X is continued
by its nearest pixel (`replicate_pad`).

Source: Shi et al., "Is the deconvolution layer the same as a convolutional layer?" (arXiv
1609.07009).
"""

import numpy as np

from npstyle.maths.array import Array

PHASES = 2
"""Phases along each axis; the factor of the upsampling."""

_READ = [[1 + (a + i - 1) // 2 for i in range(3)] for a in range(PHASES)]
"""1 + d(a, i)."""


def subpixel_kernel(kernel: Array) -> Array:
    """Return K' (3, 3, channels in, 4 channels out) of a kernel (3, 3, channels in, channels out).

    The channels out are ordered by phase, then by filter.
    """
    _, _, channels, filters = kernel.shape
    phases = np.zeros((3, 3, channels, PHASES, PHASES, filters), kernel.dtype)
    for a, b, i, j in np.ndindex(PHASES, PHASES, 3, 3):
        phases[_READ[a][i], _READ[b][j], :, a, b] += kernel[i, j]
    return phases.reshape(3, 3, channels, PHASES**2 * filters)


def subpixel_kernel_backward(upstream: Array) -> Array:
    """Derivative of `subpixel_kernel`: dL/dK from dL/dK'."""
    phases = upstream.reshape(3, 3, upstream.shape[2], PHASES, PHASES, -1)
    gradient = np.zeros_like(phases[..., 0, 0, :])  # on a GPU if `upstream` is there
    for a, b, i, j in np.ndindex(PHASES, PHASES, 3, 3):
        gradient[i, j] += phases[_READ[a][i], _READ[b][j], :, a, b]
    return gradient


def merged(phases: Array) -> Array:
    """Put the outputs of all phases, (height, width, 4 channels), in their places.

    Returns
    -------
    array (2 height, 2 width, channels)
    """
    height, width, filters = phases.shape
    apart = phases.reshape(height, width, PHASES, PHASES, filters // PHASES**2)
    return apart.transpose(0, 2, 1, 3, 4).reshape(PHASES * height, PHASES * width, -1)


def split(image: Array) -> Array:
    """Collect the phases of an image: the inverse of `merged`, and its derivative."""
    height, width = (n // PHASES for n in image.shape[:2])
    apart = image.reshape(height, PHASES, width, PHASES, image.shape[2])
    return apart.transpose(0, 2, 1, 3, 4).reshape(height, width, -1)
