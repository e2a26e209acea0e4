"""Sizes of what the layers return, by NumPy and on a card."""

TILE = 4
"""Outputs of Winograd's convolution per tile and side."""


def output_size(
    image_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int, padding: int
) -> tuple[int, int]:
    """Height and width of what `conv2d` returns for these shapes."""
    height, width = (
        (image_shape[axis] + 2 * padding - weight_shape[axis]) // stride + 1 for axis in (0, 1)
    )
    if height < 1 or width < 1:
        raise ValueError(
            f"conv2d: the kernel {tuple(weight_shape[:2])} is larger than the image "
            f"{tuple(image_shape[:2])} with padding {padding}; use a larger image"
        )
    return height, width


def pooled_size(image_shape: tuple[int, ...], size: int, stride: int) -> tuple[int, int]:
    """Height and width after pooling an image of this shape."""
    height, width = ((image_shape[axis] - size) // stride + 1 for axis in (0, 1))
    if height < 1 or width < 1:
        raise ValueError(
            f"pooling: the window {size}x{size} is larger than the image "
            f"{tuple(image_shape[:2])}; use a larger image"
        )
    return height, width


def tile_count(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover an image of this size."""
    return -(-height // TILE), -(-width // TILE)
