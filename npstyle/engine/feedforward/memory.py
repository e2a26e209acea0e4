"""How much memory a pass over bound layers takes, counted before it starts.

The count walks through the layers as `npstyle.engine.feedforward.passes` does, and takes the
largest sum of the arrays that exist at the same time.
"""

import math

from npstyle.engine.feedforward.bind import BoundLayer, BoundLayers, FramedConv
from npstyle.engine.layers import FastConv
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

    The picture itself is not counted, nor is the workspace of the threads, some megabytes each, nor
    are a GPU's sums over positions.
    """
    itemsize = bound.dtype.itemsize
    readers = {layer.skip: k for k, layer in enumerate(bound.layers) if isinstance(layer, Add)}
    kept: dict[str, int] = {}
    shape, name = (height, width, 3), "image"
    peak = before = math.prod(shape) * itemsize
    for k, (layer, after) in enumerate(
        zip(bound.layers, layer_shapes(bound, height, width), strict=True)
    ):
        kept = {skip: size for skip, size in kept.items() if readers[skip] >= k}
        held = sum(size for skip, size in kept.items() if skip != name)
        own = name not in (*kept, "image")
        peak = max(peak, held + before + _layer_bytes(bound, layer, shape, after, own))
        shape, before, name = after, math.prod(after) * itemsize, layer.name
        if name in bound.skips:
            kept[name] = before
    return peak


def gradient_bytes(
    bound: BoundLayers, height: int, width: int, *, with_kernels: bool = False
) -> int:
    """Largest sum of the arrays of `forward` and then `backward` for a picture, in bytes.

    What the caller does between the two passes is not counted, nor are the picture, the weights,
    their gradients and the workspace of the threads.
    """
    itemsize = bound.dtype.itemsize
    readers = {layer.skip: k for k, layer in enumerate(bound.layers) if isinstance(layer, Add)}
    skips: dict[str, int] = {}
    peak = cached = 0
    shape = (height, width, 3)
    for k, (layer, after) in enumerate(
        zip(bound.layers, layer_shapes(bound, height, width), strict=True)
    ):
        before, values = math.prod(shape), math.prod(after)
        forward = before * itemsize + _layer_bytes(bound, layer, shape, after, own=False)
        backward = (values + _backward_values(layer, shape, after)) * itemsize
        if with_kernels and isinstance(layer, Conv | FramedConv | DepthwiseConv):
            backward += before * itemsize  # the input, which the kernel's gradient needed
        # Backward, a sum's gradient waits as long as the array that it added did forward.
        skips = {skip: array for skip, array in skips.items() if readers[skip] >= k}
        held = cached + sum(skips.values()) * itemsize
        peak = max(peak, held + max(forward, backward))
        if with_kernels:
            cached += _cached_with_kernels(bound, layer, before, values)
        else:
            cached += _cached_bytes(bound, layer, before, values)
        shape = after
        if layer.name in bound.skips:
            skips[layer.name] = values
    upstream = math.prod(shape) * itemsize  # its owner keeps it
    return peak + upstream


def _cached_bytes(bound: BoundLayers, layer: BoundLayer, before: int, after: int) -> int:
    """What a layer with so many entries in its input and its output adds to the cache, in bytes."""
    match layer:
        case InstanceNorm() | ConditionalNorm():
            return before * bound.dtype.itemsize
        case Relu6() | Sigmoid():
            return after * bound.dtype.itemsize
        case Relu():
            return after  # the mask
    return 0


def _cached_with_kernels(bound: BoundLayers, layer: BoundLayer, before: int, after: int) -> int:
    """The same if the gradients of kernels are wanted.

    Then the output of a ReLU is kept by the convolution that reads it, or in the place of a mask.
    """
    match layer:
        case Conv() | FramedConv() | DepthwiseConv():
            return before * bound.dtype.itemsize
        case Relu():
            return 0
    return _cached_bytes(bound, layer, before, after)


def _backward_values(layer: BoundLayer, before: Shape, after: Shape) -> int:
    """Entries of a layer's arrays on the way back, besides the gradient that arrives.

    To fold a border into the image takes two more arrays.
    """
    height, width, channels = before
    match layer:
        case FramedConv():
            framed = (height + 2) * (width + 2)
            return framed * (len(layer.bias) + channels) + 2 * math.prod(before)
        case Conv(padding_mode="reflect"):
            p = layer.padding
            framed = (height + 2 * p) * (width + 2 * p) * channels
            dilated = layer.stride**2 * math.prod(after) if layer.stride > 1 else 0
            return framed + max(dilated, 2 * framed)
    return math.prod(before)


def _layer_bytes(
    bound: BoundLayers, layer: BoundLayer, before: Shape, after: Shape, own: bool
) -> int:
    """Bytes that a layer takes besides its input, which it may overwrite if it is its `own`."""
    output = math.prod(after) * bound.dtype.itemsize
    match layer:
        case FramedConv():
            return _framed_bytes(bound, layer, before, output)
        case Conv(padding_mode="reflect") if bound.engine.ON_GPU:  # the mirrored image
            padded = (before[0] + 2 * layer.padding) * (before[1] + 2 * layer.padding)
            return padded * before[2] * bound.dtype.itemsize + output
        case InstanceNorm() | ConditionalNorm() | Relu() | Relu6() | Sigmoid() | Add() if own:
            return 0
    return output


def _framed_bytes(bound: BoundLayers, layer: FramedConv, before: Shape, output: int) -> int:
    """Bytes of the image with its border, and of the output with its border.

    The workspace comes on top, and then the output where it is a copy.
    """
    height, width, channels = before[0] + 2, before[1] + 2, before[2]
    outputs = len(layer.bias)
    fast = FastConv(layer.name, layer.filters, layer.bias)
    workspace: int = bound.engine.workspace_bytes(fast, (height, width, outputs), channels)
    copied = layer.phases > 1 or bound.engine.ON_GPU
    framed = height * width * (channels + outputs) * bound.dtype.itemsize
    return framed + max(workspace, output if copied else 0)
