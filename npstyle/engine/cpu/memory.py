"""Memory that the CPU engine needs besides a layer's input and output."""

import math

from npstyle.engine.cpu import winograd
from npstyle.engine.cpu.conv import STRIP_BYTES
from npstyle.engine.layers import EngineLayer, FastConv
from npstyle.engine.sizes import WINDOW, tile_count

LOSS_ARRAYS = 0
"""Arrays of the activation's size that a style loss's derivative needs besides the gradient."""


def workspace_bytes(layer: EngineLayer, shape: tuple[int, int, int], channels: int) -> int:
    """Count the bytes of the transformed tiles and products of a layer processed as a whole.

    Parameters
    ----------
    layer : EngineLayer
    shape : (height, width, channels out)
        Of the layer's output.
    channels : int
        Channels in.
    """
    height, width, outputs = shape
    if not isinstance(layer, FastConv) or not winograd.few_tiles(height, width, layer.filters):
        return 0
    tiles = math.prod(tile_count(height, width))
    values = WINDOW**2 * tiles * (channels + outputs)
    return values * layer.filters.itemsize


def strip_bytes(layer: EngineLayer, shape: tuple[int, int, int]) -> int:
    """Count the bytes of one thread's workspace for a layer with an output of this shape."""
    height, width, _ = shape
    if isinstance(layer, FastConv) and not winograd.few_tiles(height, width, layer.filters):
        return max(STRIP_BYTES, 2 * winograd.strip_bytes(layer.filters))
    return STRIP_BYTES
