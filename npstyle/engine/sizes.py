"""Sizes that both engines share."""

TILE = 4
"""Outputs per side of a tile of Winograd's convolution F(4x4, 3x3)."""

WINDOW = 6
"""Inputs per side of a tile."""


def tile_count(height: int, width: int) -> tuple[int, int]:
    """Count the rows and columns of tiles that cover an image of this size."""
    return -(-height // TILE), -(-width // TILE)
