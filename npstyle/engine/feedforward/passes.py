"""Bound layers run forward and backward.

`paint` runs a network and keeps nothing: normalisations, rectifiers and sums overwrite their input,
and an array is freed as soon as the last layer that reads it has run. `forward` keeps what
`backward` needs: the input of each normalisation with its statistics, the masks of rectifiers, and,
if the gradients of kernels are wanted, the inputs of the convolutions.

A ReLU behind a convolution or a normalisation is a part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from npstyle.engine.feedforward.bind import BoundLayer, BoundLayers, FramedConv
from npstyle.engine.feedforward.subpixel import merged, split, subpixel_kernel_backward
from npstyle.maths.array import Array
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Pad,
    Pool,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)

Norms = Mapping[str, InstanceNorm]
"""The normalisations for one style, by name; see `npstyle.maths.conditional.conditioned`."""

Gradients = dict[str, dict[str, Array]]
"""By the name of a layer and of its array."""


@dataclass
class Cache:
    """What the backward pass needs of the forward pass.

    Attributes
    ----------
    with_kernels : bool
        Whether the gradients of kernels and biases are wanted.
    entries : list
        One per layer that ran: of a convolution its input, or the shape of it; of a normalisation
        its input and its statistics; of a rectifier or a sigmoid its output, or its mask; of the
        others the shape of their input.
    """

    with_kernels: bool
    entries: list[Any] = field(default_factory=list)


def paint(bound: BoundLayers, image: Array, norms: Norms | None = None) -> Array:
    """Run a network.

    Parameters
    ----------
    bound : BoundLayers
    image : array (height, width, channels)
        The preprocessed picture on the engine's device, in the precision of the layers. It is not
        changed.
    norms : dict of InstanceNorm, optional
        For the conditional normalisations; their arrays may be on the host.

    Returns
    -------
    array (height, width, channels)
        The output of the last layer.
    """
    return _run(bound, image, norms or {}, None)


def forward(
    bound: BoundLayers, image: Array, norms: Norms | None = None, *, with_kernels: bool = False
) -> tuple[Array, Cache]:
    """Run a network and keep what `backward` needs.

    Parameters
    ----------
    bound, image, norms
        As in `paint`.
    with_kernels : bool
        Whether the gradients of kernels and biases are wanted.

    Returns
    -------
    output : array (height, width, channels)
    cache : Cache
    """
    cache = Cache(with_kernels)
    return _run(bound, image, norms or {}, cache), cache


def _run(bound: BoundLayers, image: Array, norms: Norms, cache: Cache | None) -> Array:
    """Run the layers one by one, and fill the cache if there is one."""
    engine = bound.engine
    readers = {layer.skip: k for k, layer in enumerate(bound.layers) if isinstance(layer, Add)}
    outputs: dict[str, Array] = {"image": image} if "image" in bound.skips else {}
    X, before = image, "image"
    for k, layer in enumerate(bound.layers):
        # A layer may overwrite its input if no other layer and no cache reads it.
        free = before not in outputs and before != "image"
        own = X if free and cache is None else None
        entry: Any = X.shape
        rectify = _is_rectified(bound, k)
        match layer:
            case Conv() | FramedConv() | DepthwiseConv():
                entry = X if cache and cache.with_kernels else X.shape
                X = _convolve(engine, layer, X, rectify)
            case InstanceNorm() | ConditionalNorm():
                norm = _with_arrays(bound, layer, norms)
                statistics = engine.instance_statistics(X, norm.epsilon)
                entry = X, statistics
                way = norm.epsilon, statistics, own
                X = engine.instance_norm(X, norm.scale, norm.shift, *way, rectify=rectify)
            case Relu():
                if not _is_rectified(bound, k - 1):
                    X = engine.relu(X, out=own)
                if cache:
                    entry = X if cache.with_kernels else engine.relu_mask(X)
            case Add():
                X = engine.add(X, outputs[layer.skip], out=own)
                if readers[layer.skip] == k:
                    del outputs[layer.skip]
            case Relu6():
                X = entry = engine.relu6(X, out=own)
            case Sigmoid():
                X = entry = engine.sigmoid(X, out=own)
            case Pad():
                X = engine.zero_pad(X, layer.before, layer.after)
            case Upsample():
                X = engine.upsample(X, layer.factor)
            case GlobalPool():
                X = engine.global_avg_pool(X)
            case Pool():
                raise TypeError("a network that paints has no pooling with windows")
        if cache:
            cache.entries.append(entry)
        del entry, own
        before = layer.name
        if before in bound.skips:
            outputs[before] = X
    return X


def backward(
    bound: BoundLayers, cache: Cache, upstream: Array, norms: Norms | None = None
) -> tuple[Array, Gradients]:
    """Carry a gradient from the output back to the image and to the weights.

    Parameters
    ----------
    bound : BoundLayers
    cache : Cache
        From `forward`. It is emptied.
    upstream : array (height, width, channels)
        dL/dY of the output Y. It may be overwritten.
    norms
        Those of the forward pass.

    Returns
    -------
    gradient : array (height, width, channels)
        dL/dX of the image.
    weights : dict of dict of arrays
        "scale" and "shift" of every normalisation, in float64, and "kernel" and "bias" of every
        convolution if the cache was made for them.

    Raises
    ------
    ValueError
        If the cache is empty.
    """
    return _run_back(bound, cache, upstream, norms or {}, 0)


def backward_weights(
    bound: BoundLayers, cache: Cache, upstream: Array, norms: Norms | None = None
) -> Gradients:
    """Do as `backward` for the weights alone: the gradient at the image is not computed."""
    _, found = _run_back(bound, cache, upstream, norms or {}, 0, to_image=False)
    return found


def backward_norms(
    bound: BoundLayers, cache: Cache, upstream: Array, norms: Norms | None = None
) -> Gradients:
    """Do as `backward` for the scales and shifts alone: the pass ends at the first normalisation.

    The parameters are those of `backward`, with a cache that was not made for kernels. A network
    that paints spends a third of the backward pass before its first normalisation.
    """
    kinds = InstanceNorm | ConditionalNorm
    first = next(k for k, layer in enumerate(bound.layers) if isinstance(layer, kinds))
    _, found = _run_back(bound, cache, upstream, norms or {}, first)
    cache.entries.clear()
    return found


def _run_back(
    bound: BoundLayers,
    cache: Cache,
    upstream: Array,
    norms: Norms,
    first: int,
    *,
    to_image: bool = True,
) -> tuple[Array, Gradients]:
    """Run the layers from the last to `first`: the gradient at its input, and the weights'.

    Without `to_image`, a first layer that is a convolution keeps the gradient at its output.
    """
    if not cache.entries:
        raise ValueError("backward: the cache is empty; it can be used once")
    engine, found = bound.engine, Gradients()
    skipped: dict[str, Array] = {}
    g = upstream
    while len(cache.entries) > first:
        entry, k = cache.entries.pop(), len(cache.entries)
        layer = bound.layers[k]
        if layer.name in skipped:
            g = engine.add(g, skipped.pop(layer.name), out=g)
        match layer:
            case Conv() | FramedConv() | DepthwiseConv():
                if cache.with_kernels:
                    kernel, bias = _convolve_backward_weights(engine, layer, g, entry)
                    found[layer.name] = {"kernel": kernel, "bias": bias}
                shape = entry.shape if cache.with_kernels else entry
                if k > first or to_image:
                    g = _convolve_backward(engine, layer, g, shape)
            case InstanceNorm() | ConditionalNorm():
                norm = _with_arrays(bound, layer, norms)
                way = entry[0], norm.scale, norm.epsilon, entry[1], g
                g, at_scale, at_shift = engine.instance_norm_backward(g, *way)
                found[layer.name] = {"scale": at_scale, "shift": at_shift}
            case Relu():
                g = engine.relu_backward(g, entry, out=g)
            case Add():
                before = skipped.get(layer.skip)
                skipped[layer.skip] = g.copy() if before is None else engine.add(g, before)
            case Relu6():
                g = engine.relu6_backward(g, entry)
            case Sigmoid():
                g = engine.sigmoid_backward(g, entry)
            case Pad():
                g = engine.zero_pad_backward(g, layer.before, layer.after)
            case Upsample():
                g = engine.upsample_backward(g, layer.factor)
            case GlobalPool():
                g = engine.global_avg_pool_backward(g, entry)
        del entry
    if "image" in skipped:
        g = engine.add(g, skipped["image"])
    return g, found


def _is_rectified(bound: BoundLayers, k: int) -> bool:
    """Whether layer `k` applies the ReLU behind it itself."""
    if not 0 <= k < len(bound.layers) - 1 or not isinstance(bound.layers[k + 1], Relu):
        return False
    alone = bound.layers[k].name not in bound.skips
    kinds = Conv | FramedConv | InstanceNorm | ConditionalNorm
    return alone and isinstance(bound.layers[k], kinds)


def _with_arrays(
    bound: BoundLayers, layer: InstanceNorm | ConditionalNorm, norms: Norms
) -> InstanceNorm:
    """The normalisation for the style that is painted, its arrays on the engine's device."""
    if isinstance(layer, InstanceNorm):
        return layer
    norm = norms[layer.name]
    scale, shift = (bound.engine.place(a, bound.dtype) for a in (norm.scale, norm.shift))
    return replace(norm, scale=scale, shift=shift)


def _convolve(engine: Any, layer: BoundLayer, X: Array, rectify: bool) -> Array:
    Z: Array
    match layer:
        case FramedConv():
            framed = engine.reflect_pad(X, 1) if layer.phases == 1 else engine.replicate_pad(X, 1)
            Z = engine.winograd_conv2d(framed, layer.filters, layer.bias, rectify=rectify)
            inside = Z[1:-1, 1:-1]
            # A GPU's kernels need whole arrays; on a CPU the view stays a view.
            placed: Array = engine.place(inside if layer.phases == 1 else merged(inside))
            return placed
        case DepthwiseConv():
            Z = engine.depthwise_conv2d(X, layer.kernel, layer.bias, layer.stride, layer.padding)
            return Z
        case Conv(padding_mode="reflect"):
            convolve = engine.reflect_conv2d
        case Conv(padding_mode="zero"):
            convolve = engine.conv2d
        case _:
            raise TypeError(f"{layer} is no convolution of a network that paints")
    way = layer.stride, layer.padding
    Z = convolve(X, layer.kernel, layer.bias, *way, rectify=rectify)
    return Z


def _convolve_backward(engine: Any, layer: BoundLayer, g: Array, shape: tuple[int, ...]) -> Array:
    """dL/dX, of this shape, of a convolution."""
    gradient: Array
    match layer:
        case FramedConv():
            at_Z = engine.zero_pad(g if layer.phases == 1 else split(g), 1)
            framed = engine.winograd_conv2d_backward(at_Z, layer.filters)
            one = layer.phases == 1
            unframe = engine.reflect_pad_backward if one else engine.replicate_pad_backward
            gradient = unframe(framed, 1)
            return gradient
        case DepthwiseConv():
            convolve_backward = engine.depthwise_conv2d_backward
        case Conv(padding_mode="reflect"):
            convolve_backward = engine.reflect_conv2d_backward
        case Conv():
            convolve_backward = engine.conv2d_backward
        case _:
            raise TypeError(f"{layer} is no convolution")
    gradient = convolve_backward(g, layer.kernel, shape, layer.stride, layer.padding)
    return gradient


def _convolve_backward_weights(
    engine: Any, layer: BoundLayer, g: Array, X: Array
) -> tuple[Array, Array]:
    """dL/dK and dL/db of a convolution of X, in the shapes of the network's own arrays."""
    kernel: Array
    bias: Array
    match layer:
        case FramedConv(phases=1):
            padded = engine.reflect_pad(X, 1)
            kernel, bias = engine.conv2d_backward_weights(g, padded, (3, 3))
        case FramedConv():
            padded, phases = engine.replicate_pad(X, 1), split(g)
            kernel, bias = engine.conv2d_backward_weights(phases, padded, (3, 3))
            kernel = subpixel_kernel_backward(kernel)
            bias = bias.reshape(layer.phases**2, -1).sum(axis=0)
        case DepthwiseConv():
            size = layer.kernel.shape[:2]
            way = size, layer.stride, layer.padding
            kernel, bias = engine.depthwise_conv2d_backward_weights(g, X, *way)
        case Conv():
            reflects = layer.padding_mode == "reflect"
            padded = engine.reflect_pad(X, layer.padding) if reflects else X
            way = layer.kernel.shape[:2], layer.stride, 0 if reflects else layer.padding
            kernel, bias = engine.conv2d_backward_weights(g, padded, *way)
        case _:
            raise TypeError(f"{layer} is no convolution")
    return kernel, bias
