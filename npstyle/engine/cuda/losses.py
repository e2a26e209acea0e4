"""The losses and their derivatives on a GPU, with the kernels of `losses.cu`.

The formulas are those of `npstyle.maths.content`, `style` and `variation`. A loss is an array of
one float64 on the GPU (`npstyle.engine.cuda.numbers` fetches it), summed in float64. A derivative
is multiplied by the loss's factor alpha, beta or gamma and added to `out`, if that is given.
"""

import numpy as np

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch, launch_elementwise
from npstyle.engine.cuda.gram import mean_gram, multiply_slope
from npstyle.maths.array import Array


def content_loss(F: Array, P: Array) -> Array:
    """Half the sum of squared differences of two arrays (height, width, channels): L."""
    return _sum_of_squares(F, P, 1 / 2)


def content_loss_backward(
    F: Array, P: Array, alpha: float = 1.0, out: Array | None = None
) -> Array:
    """Derivative of `content_loss` with respect to F, times alpha."""
    result = empty(F.shape, F.dtype) if out is None else out
    arguments = (F, P, F.dtype.type(alpha), result, int(out is not None))
    launch_elementwise("losses", "content_backward", F, *arguments)
    return result


def gram_loss(G: Array, A: Array) -> Array:
    """Style loss E = 1/(4 N^2) sum (G' - A')^2 from the two mean Gram matrices.

    Parameters
    ----------
    G, A : arrays (channels, channels)
        G' and A', the `mean_gram` of the picture and of the painting.
    """
    return _sum_of_squares(G, A, 1 / (4 * len(G) ** 2))


def gram_loss_backward(G: Array, A: Array, beta: float = 1.0) -> Array:
    """Derivative of `gram_loss` with respect to G', times beta: beta/(2 N^2) (G' - A')."""
    return (G - A) * G.dtype.type(beta / (2 * len(G) ** 2))


def style_loss(F: Array, A: Array, guide: Array | None = None) -> Array:
    """Squared distance of two Gram matrices, divided by 4 N^2.

    Parameters
    ----------
    F : array (height, width, channels)
        The picture's activations.
    A : array (channels, channels)
        The painting's `mean_gram`.
    guide : array (height, width) with sum 1, optional
        The region of the picture to compare; all of it by default.
    """
    return gram_loss(mean_gram(F, guide), A)


def style_loss_backward(
    F: Array,
    A: Array,
    beta: float = 1.0,
    guide: Array | None = None,
    gram: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Derivative of `style_loss` with respect to F, times beta.

    Parameters
    ----------
    F, A, guide
        As in `style_loss`.
    beta : float
    gram : array (channels, channels), optional
        `mean_gram(F, guide)`, if it is known already.
    out : array (height, width, channels), optional
        The derivative is added to it.

    Returns
    -------
    array (height, width, channels)
    """
    height, width, channels = F.shape
    G = mean_gram(F, guide) if gram is None else gram
    factor = beta / (2 * channels**2)
    if guide is None:
        factor /= height * width
    slope = empty(G.shape, F.dtype)
    shape = shapes.elementwise(f"style_slope_{slope.dtype.name}", slope.size)
    launch("losses", shape, G, A, F.dtype.type(factor), slope, channels)
    return multiply_slope(F, slope, guide, out)


def total_variation(image: Array) -> Array:
    """Sum of the squared differences of neighbours in an image (height, width, channels): T."""
    shape = shapes.reduction(f"tv_{image.dtype.name}", image.size)
    partial = empty((shape.grid[0],), np.float64)
    launch("losses", shape, image, partial, *image.shape)
    return _total(partial, 1.0)


def total_variation_backward(image: Array, gamma: float = 1.0, out: Array | None = None) -> Array:
    """Derivative of `total_variation` with respect to the image, times gamma."""
    result = empty(image.shape, image.dtype) if out is None else out
    shape = shapes.elementwise(f"tv_backward_{image.dtype.name}", image.size)
    factor, add = image.dtype.type(gamma), int(out is not None)
    launch("losses", shape, image, factor, result, *image.shape, add)
    return result


def _sum_of_squares(values: Array, target: Array, factor: float) -> Array:
    """Return factor * sum (a - b)^2."""
    shape = shapes.reduction(f"squares_{values.dtype.name}", values.size)
    partial = empty((shape.grid[0],), np.float64)
    launch("losses", shape, values, target, partial, np.int64(values.size))
    return _total(partial, factor)


def _total(partial: Array, factor: float) -> Array:
    """Add the partial sums of a reduction, and multiply the sum by a factor."""
    result = empty((1,), np.float64)
    launch("losses", shapes.TOTAL, partial, result, int(partial.size), np.float64(factor))
    return result
