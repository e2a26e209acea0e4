"""Memory that the engine with compiled loops needs besides a layer's input and output."""

import math

from npstyle.engine.cpu.compiled import winograd
from npstyle.engine.cpu.conv import STRIP_BYTES
from npstyle.engine.layers import EngineLayer, FastConv
from npstyle.engine.sizes import WINDOW, tile_count


def workspace_bytes(layer: EngineLayer, shape: tuple[int, int, int], channels: int) -> int:
    """Count the bytes of the transformed tiles and products of a layer processed as a whole.

    Parameters are those of `npstyle.engine.cpu.memory.workspace_bytes`.
    """
    height, width, outputs = shape
    if not isinstance(layer, FastConv) or not winograd.few_tiles(height, width, layer.filters):
        return 0
    tiles = math.prod(tile_count(height, width))
    return WINDOW**2 * tiles * (channels + outputs) * layer.filters.itemsize


def strip_bytes(layer: EngineLayer, shape: tuple[int, int, int]) -> int:
    """Count the bytes of one thread's workspace for a layer with an output of this shape."""
    height, width, _ = shape
    if isinstance(layer, FastConv) and not winograd.few_tiles(height, width, layer.filters):
        values = winograd.strip_values(height, width, layer.filters)
        return max(STRIP_BYTES, values * layer.filters.itemsize)
    return STRIP_BYTES
