"""The memory that a tile takes, and the largest tile that fits."""

import math
from collections.abc import Collection

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.memory import Size, evaluation_bytes, with_gaps
from npstyle.errors import InputError
from npstyle.tiles.cut import cell, largest_size


def tile_bytes(bound: BoundNetwork, wanted: Collection[str], size: Size, tile: int) -> int:
    """Largest sum of the arrays that exist while one tile of a picture is evaluated, in bytes.

    Weights, the threads' workspaces and arrays of the whole picture's size are not counted.

    Parameters
    ----------
    bound : BoundNetwork
    wanted : names of activations
        The layers with a loss.
    size : (height, width)
        Of the picture.
    tile : int
        As in `npstyle.tiles.cut.cut`, which documents the errors.
    """
    height, width = largest_size(bound.network, wanted, size, tile)
    own_guide = height * width * bound.dtype.itemsize  # of the first layer, see tiles.passes
    return evaluation_bytes(bound, wanted, (height, width)) + own_guide


def largest_tile(bound: BoundNetwork, wanted: Collection[str], size: Size, memory: int) -> int:
    """Find the largest tile whose evaluation fits the memory, in pixels without its halo.

    Parameters
    ----------
    bound : BoundNetwork
    wanted : names of activations
    size : (height, width)
        Of the picture.
    memory : int
        Bytes for the arrays that `tile_bytes` counts and the gaps between them.

    Raises
    ------
    InputError
        If not even the smallest tile fits.
    """

    def needed(tile: int) -> int:
        return with_gaps(tile_bytes(bound, wanted, size, tile))

    C = cell(bound.network, wanted)
    least = needed(C)
    if least > memory:
        raise InputError(
            f"--memory: {max(0, memory) / 1e6:.0f} MB are left for a tile, and the smallest, of "
            f"{C} pixels, takes {least / 1e6:.0f} MB; "
            f"allow {math.ceil((least - memory) / 1e6)} MB more"
        )
    # Tiles are as equal in size as possible along each side, so they can only have these sizes.
    sides = [-(-length // C) for length in size]
    tiles = {-(-cells // count) * C for cells in sides for count in range(1, cells + 1)}
    return next(tile for tile in sorted(tiles, reverse=True) if needed(tile) <= memory)
