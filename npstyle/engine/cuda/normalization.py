"""Instance normalisation on a GPU: `npstyle.maths.normalization`, with the kernels of `norm.cu`."""

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.engine.cuda.channels import channel_products, channel_squares, channel_sums
from npstyle.maths.array import Array

Statistics = tuple[Array, Array]
"""m and 1/s of every channel, arrays (channels,) in float64."""


def instance_statistics(image: Array, epsilon: float = 1e-5) -> Statistics:
    """Return the mean m and the inverse deviation 1/s = 1/sqrt(v + epsilon) of every channel.

    Parameters
    ----------
    image : float32 or float64 array (height, width, channels)
        X.
    epsilon : float

    Returns
    -------
    m, inverse : float64 arrays (channels,)
    """
    share = 1 / (image.shape[0] * image.shape[1])
    m = channel_sums(image, share)
    return m, (channel_squares(image, m, share) + epsilon) ** -0.5


def instance_norm(
    image: Array,
    scale: Array,
    shift: Array,
    epsilon: float = 1e-5,
    statistics: Statistics | None = None,
    out: Array | None = None,
    *,
    rectify: bool = False,
) -> Array:
    """Normalise every channel.

    Parameters
    ----------
    image : float32 or float64 array (height, width, channels)
        X.
    scale, shift : arrays (channels,)
        a and b, in the image's dtype.
    epsilon : float
    statistics : optional
        Those of the image, if they are known.
    out : array (height, width, channels), optional
        Overwritten with the result; may be X itself.
    rectify : bool
        Apply the ReLU to the result.

    Returns
    -------
    array (height, width, channels)
        Y, or max(Y, 0).
    """
    result = empty(image.shape, image.dtype) if out is None else out
    height, width, channels = image.shape
    shape = shapes.rows(f"instance_norm_{image.dtype.name}", height, width * channels)
    given = (*(statistics or instance_statistics(image, epsilon)), scale, shift)
    launch("norm", shape, image, *given, result, width, channels, int(rectify))
    return result


def instance_norm_backward(
    upstream: Array,
    image: Array,
    scale: Array,
    epsilon: float = 1e-5,
    statistics: Statistics | None = None,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Derivative of `instance_norm` with respect to image, scale and shift.

    Parameters
    ----------
    upstream : array (height, width, channels)
        g = dL/dY.
    image, scale, epsilon, statistics
        As in `instance_norm`.
    out : array (height, width, channels), optional
        Overwritten with dL/dX; may be `upstream` itself.

    Returns
    -------
    gradient : array (height, width, channels)
        dL/dX.
    scale_gradient, shift_gradient : float64 arrays (channels,)
        dL/da and dL/db.
    """
    m, inverse = statistics or instance_statistics(image, epsilon)
    A = channel_sums(upstream)
    B = channel_products(upstream, image, m) * inverse
    result = empty(upstream.shape, upstream.dtype) if out is None else out
    height, width, channels = image.shape
    shape = shapes.rows(f"instance_norm_backward_{image.dtype.name}", height, width * channels)
    launch("norm", shape, upstream, image, m, inverse, scale, A, B, result, *image.shape)
    return result, B, A
