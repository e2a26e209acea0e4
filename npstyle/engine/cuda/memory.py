"""Memory that the CUDA engine needs besides a layer's input and output."""

from npstyle.engine.cuda import tensor_cores, winograd
from npstyle.engine.layers import EngineLayer, FastConv, TensorConv
from npstyle.engine.sizes import tile_count

LOSS_ARRAYS = 1
"""Arrays of the activation's size that a style loss's derivative needs besides the gradient."""


def workspace_bytes(layer: EngineLayer, shape: tuple[int, int, int], channels: int) -> int:
    """Largest workspace of a layer, forward or backward, in bytes.

    Parameters
    ----------
    layer : EngineLayer
    shape : (height, width, channels)
        Of the layer's output.
    channels : int
        Of the layer's input.
    """
    height, width, outputs = shape
    if isinstance(layer, FastConv):  # the transformed tiles of a strip, and their products
        rows = winograd.winograd_rows((height, width, channels), outputs)
        return 36 * rows * tile_count(height, width)[1] * (channels + outputs) * 4
    if isinstance(layer, TensorConv):  # the parts of the sum, and a ReLU mask of bytes
        parts = [
            tensor_cores.parts(layer.precision, height, width, *ends) * ends[1]
            for ends in ((channels, outputs), (outputs, channels))
        ]
        return max(parts) * height * width * 4 + height * width * outputs
    return 0


def strip_bytes(layer: EngineLayer, shape: tuple[int, int, int]) -> int:
    """Return 0: the host's threads need no workspace. The counterpart of the CPU engine's."""
    return 0
