"""How much memory a pass over bound layers takes, counted before it starts.

The count walks through the layers as `npstyle.engine.feedforward.passes` does, and takes the
largest sum of the arrays that exist at the same time.
"""

import math

from npstyle.engine.feedforward.bind import BoundLayer, BoundLayers, FramedConv
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)
from npstyle.maths.windows import output_size

Shape = tuple[int, int, int]
"""Height, width and channels."""


def layer_shapes(bound: BoundLayers, height: int, width: int) -> list[Shape]:
    """Return the shape of every layer's output for a picture of this size.

    Raises
    ------
    ValueError
        If the picture is too small.
    """
    shapes: list[Shape] = []
    shape = (height, width, 3)
    for layer in bound.layers:
        shape = _output_shape(layer, shape)
        shapes.append(shape)
    return shapes


def _output_shape(layer: BoundLayer, shape: Shape) -> Shape:
    height, width, channels = shape
    match layer:
        case FramedConv():
            n = layer.phases
            return n * height, n * width, len(layer.bias) // n**2
        case Conv() | DepthwiseConv():
            size = output_size(shape, layer.kernel.shape, layer.stride, layer.padding)
            return *size, len(layer.bias)
        case Pad():
            more = layer.before + layer.after
            return height + more, width + more, channels
        case Upsample():
            return layer.factor * height, layer.factor * width, channels
        case GlobalPool():
            return 1, 1, channels
    return shape


def paint_bytes(bound: BoundLayers, height: int, width: int) -> int:
    """Largest sum of the arrays of `paint` for a picture of this size, in bytes.

    The picture itself is not counted, nor is the workspace of the threads, some megabytes each.
    """
    readers = {layer.skip: k for k, layer in enumerate(bound.layers) if isinstance(layer, Add)}
    kept: dict[str, int] = {}
    peak = before = math.prod((height, width, 3))
    shape, name = (height, width, 3), "image"
    for k, (layer, after) in enumerate(
        zip(bound.layers, layer_shapes(bound, height, width), strict=True)
    ):
        kept = {skip: values for skip, values in kept.items() if readers[skip] >= k}
        held = sum(values for skip, values in kept.items() if skip != name)
        values = math.prod(after)
        in_place = isinstance(
            layer, InstanceNorm | ConditionalNorm | Relu | Relu6 | Sigmoid | Add
        ) and name not in (*kept, "image")
        framed = _framed_values(layer, shape, after) if isinstance(layer, FramedConv) else 0
        peak = max(peak, held + before + (0 if in_place else values) + framed)
        shape, before, name = after, values, layer.name
        if name in bound.skips:
            kept[name] = values
    return peak * bound.dtype.itemsize


def _framed_values(layer: FramedConv, before: Shape, after: Shape) -> int:
    """Entries of the image with its border, and of the output with its border beside the merged."""
    height, width, channels = before
    framed = (height + 2) * (width + 2)
    outputs = len(layer.bias)
    extra = framed * outputs if layer.phases > 1 else framed * outputs - math.prod(after)
    return framed * channels + extra
