"""Sliding windows: convolution and pooling have them in common.

A window of k_h x k_w positions slides over an image in steps of s. Number the places inside the
window by i (row) and j (column). Over all positions (y, x) of the window, place (i, j) visits

    W_ij[y, x] = X[s y + i, s x + j]

which is a strided slice of X. Convolution and pooling combine these k_h k_w slices. A slice is a
view: adding to W_ij[y, x] adds to X[s y + i, s x + j]. So the same slices, taken from the array
that collects the gradient, add each part of the gradient at the position that it belongs to.
"""

from collections.abc import Iterator

from npstyle.maths.array import Array


def windows(
    image: Array, kernel_size: tuple[int, int], stride: int
) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yield each place (i, j) of the window with its slice W_ij of the image.

    Parameters
    ----------
    image : array (height, width, channels)
    kernel_size : (int, int)
        Height and width of the window.
    stride : int
        Step of the window, in positions.

    Yields
    ------
    (i, j) : tuple of int
        The places in reading order.
    view : array (out height, out width, channels)
        W_ij, a view into `image`.
    """
    out_height, out_width = output_size(image.shape, kernel_size, stride)
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            rows = slice(i, i + (out_height - 1) * stride + 1, stride)
            columns = slice(j, j + (out_width - 1) * stride + 1, stride)
            yield (i, j), image[rows, columns]


def output_size(
    image_shape: tuple[int, ...], kernel_size: tuple[int, ...], stride: int, padding: int = 0
) -> tuple[int, int]:
    """Count the positions of a window along both axes: floor((n + 2p - k) / s) + 1.

    Parameters
    ----------
    image_shape : tuple
        The height n and the width come first.
    kernel_size : tuple
        The height k and the width of the window come first.
    stride, padding : int
        s and p.

    Returns
    -------
    (height, width)

    Raises
    ------
    ValueError
        If the window is larger than the padded image, or the stride is below 1.
    """
    if stride < 1:
        raise ValueError(f"the stride must be 1 or more, got {stride}")
    height, width = (
        (image_shape[axis] + 2 * padding - kernel_size[axis]) // stride + 1 for axis in (0, 1)
    )
    if height < 1 or width < 1:
        raise ValueError(
            f"the window {kernel_size[0]}x{kernel_size[1]} is larger than the image "
            f"{image_shape[0]}x{image_shape[1]} with padding {padding}; use a larger image"
        )
    return height, width
