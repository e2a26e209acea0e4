"""Pooling on a GPU: `npstyle.maths.pooling`, with the kernels of `pool.cu`.

Images are float32 or float64 arrays (height, width, channels), pooled images (out height, out
width, channels). `stride` is `size` by default.
"""

from npstyle.engine.cuda import launch as shapes
from npstyle.engine.cuda.arrays import empty, launch
from npstyle.maths.array import Array
from npstyle.maths.windows import output_size


def avg_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Average over each window.

    Raises ValueError, like the other two, if the window is larger than the image.
    """
    return _pool("avg", image, size, stride)


def avg_pool2d_backward(
    upstream: Array, image_shape: tuple[int, ...], size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `avg_pool2d`: dL/dX of shape `image_shape` from dL/dY."""
    return _pool_backward("avg", upstream, image_shape, None, None, size, stride)


def max_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the maximum of each window."""
    return _pool("max", image, size, stride)


def max_pool2d_backward(
    upstream: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `max_pool2d`: dL/dX from dL/dY, the image X and its pooled image Y."""
    return _pool_backward("max", upstream, image.shape, image, pooled, size, stride)


def l2_pool2d(image: Array, size: int = 2, stride: int | None = None) -> Array:
    """Take the root mean square of each window."""
    return _pool("l2", image, size, stride)


def l2_pool2d_backward(
    upstream: Array, image: Array, pooled: Array, size: int = 2, stride: int | None = None
) -> Array:
    """Derivative of `l2_pool2d`: dL/dX from dL/dY, the image X and its pooled image Y."""
    return _pool_backward("l2", upstream, image.shape, image, pooled, size, stride)


def _pool(mode: str, image: Array, size: int, stride: int | None) -> Array:
    stride = stride or size
    sizes = output_size(image.shape, (size, size), stride)
    out = empty((*sizes, image.shape[2]), image.dtype)
    shape = shapes.rows(f"{mode}_pool2d_{out.dtype.name}", sizes[0], sizes[1] * image.shape[2])
    launch("pool", shape, image, out, *image.shape, size, stride, *sizes)
    return out


def _pool_backward(
    mode: str,
    upstream: Array,
    image_shape: tuple[int, ...],
    image: Array | None,
    pooled: Array | None,
    size: int,
    stride: int | None,
) -> Array:
    out = empty(image_shape, upstream.dtype)
    height, width, channels = image_shape
    shape = shapes.rows(f"{mode}_pool2d_backward_{out.dtype.name}", height, width * channels)
    geometry = (*image_shape, size, stride or size, *upstream.shape[:2])
    launch("pool", shape, upstream, image, pooled, out, *geometry)
    return out
