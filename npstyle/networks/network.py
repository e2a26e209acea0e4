"""A convolutional network as plain data: the layers in order, and the preprocessing.

The layers are the textbook's (`npstyle.maths.network`), which runs them as they are. An engine
binds a network to run it fast (`npstyle.engine.bind`).

An activation is named after its convolution and means the values after the ReLU: "conv4_2" and
"relu4_2" name the same array, as in the paper. "pool1" is the output of a pooling layer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npstyle.errors import InputError
from npstyle.maths.layers import Conv, PaddingMode, Pool, Pooling, Relu, VggLayer
from npstyle.maths.windows import output_size
from npstyle.networks.architecture import ConvSpec, PoolSpec
from npstyle.networks.weights import Weights, default_weights, find_weights, load_weights


@dataclass(frozen=True, repr=False)
class Network:
    """The layers in order, and the preprocessing.

    The input is (pixels - mean) * scale, with the pixels 0..255 in `channel_order`.

    Attributes
    ----------
    name : str
    layers : tuple of VggLayer
    channel_order : "RGB" or "BGR"
    mean, scale : three floats each, in that order
    normalized : bool
        True if the mean activation of every filter is 1.
    sha256 : str
        Hash of the weights' file.
    """

    name: str
    layers: tuple[VggLayer, ...]
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    normalized: bool
    sha256: str

    def __repr__(self) -> str:
        mean, scale = (", ".join(f"{v:.6g}" for v in values) for values in (self.mean, self.scale))
        first = f"Network {self.name}: ({self.channel_order} pixel - ({mean})) * ({scale})"
        return "\n".join(
            [first, *(f"  {layer.name:<9} {_described(layer)}" for layer in self.layers)]
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type of the kernels; pictures are converted to it."""
        return next(layer.bias.dtype for layer in self.layers if isinstance(layer, Conv))

    def activations(self) -> dict[int, str]:
        """Name of each activation, by the index of the layer whose output it is."""
        names = {}
        for index, layer in enumerate(self.layers):
            before = self.layers[index - 1] if index else None
            if isinstance(layer, Relu) and isinstance(before, Conv):
                names[index] = before.name
            elif isinstance(layer, Pool):
                names[index] = layer.name
        return names

    def depth(self, name: str) -> int:
        """Index of the layer whose output an activation is.

        Raises
        ------
        InputError
            If the network has no activation of this name.
        """
        names = self.activations()
        for index, own in names.items():
            if name in (own, self.layers[index].name):
                return index
        known = ", ".join(names.values())
        raise InputError(f"layer {name}: network {self.name} has no such layer; it has {known}")

    def canonical(self, name: str) -> str:
        """The one name of an activation: "conv4_2" also for "relu4_2"; raises as `depth` does."""
        return self.activations()[self.depth(name)]


def _described(layer: VggLayer) -> str:
    """Say what a layer does, without its numbers."""
    if isinstance(layer, Conv):
        height, width, channels, filters = layer.kernel.shape
        return f"convolution {height}x{width}, {channels} to {filters} channels"
    if isinstance(layer, Pool):
        return f"{layer.mode} pooling {layer.size}x{layer.size}, stride {layer.stride}"
    return "ReLU"


def network_from_weights(weights: Weights) -> Network:
    """Build the list of layers from the contents of a weights file.

    Parameters
    ----------
    weights : Weights
        Kernels (out, in, kernel height, kernel width), as the file stores them.

    Returns
    -------
    Network
        In float32, with average pooling and zero padding; see `configure`.
    """
    layers: list[VggLayer] = []
    for spec in weights.layers:
        if isinstance(spec, ConvSpec):
            kernel = weights.tensors[f"{spec.name}.weight"].transpose(2, 3, 1, 0)
            bias = weights.tensors[f"{spec.name}.bias"]
            layers.append(
                Conv(
                    spec.name,
                    np.ascontiguousarray(kernel, np.float32),
                    bias.astype(np.float32),
                    spec.stride,
                    spec.padding,
                )
            )
        elif isinstance(spec, PoolSpec):
            layers.append(Pool(spec.name, spec.size, spec.stride))
        else:
            layers.append(Relu(spec.name))
    return Network(
        weights.name,
        tuple(layers),
        weights.channel_order,
        weights.mean,
        weights.scale,
        weights.normalized,
        weights.sha256,
    )


def configure(
    network: Network,
    pooling: Pooling,
    dtype: DTypeLike = np.float32,
    padding: PaddingMode = "zero",
) -> Network:
    """Return the same network with another pooling, precision and padding.

    Parameters
    ----------
    network : Network
    pooling : "avg", "max" or "l2"
        How every pooling layer pools. The paper found that average pooling looks better.
    dtype : float dtype
        Precision of the kernels and biases.
    padding : "zero" or "replicate"
        What the first convolution sees beyond the edge of the picture.
    """
    layers: list[VggLayer] = []
    for index, layer in enumerate(network.layers):
        match layer:
            case Conv():
                layers.append(
                    replace(
                        layer,
                        kernel=layer.kernel.astype(dtype, copy=False),
                        bias=layer.bias.astype(dtype),
                        padding_mode="zero" if index else padding,
                    )
                )
            case Pool():
                layers.append(replace(layer, mode=pooling))
            case Relu():
                layers.append(layer)
    return replace(network, layers=tuple(layers))


def load_network(name: str | Path | None = None) -> Network:
    """Load a network from a weights file.

    Parameters
    ----------
    name : str or Path, optional
        A file, or a name to look up in `weights/` or the user's data directory. By default VGG-19
        if it is installed, else the small built-in network.

    Returns
    -------
    Network
        In float32, with average pooling; see `configure`.

    Raises
    ------
    InputError
        If there is no such file, or it is not a valid weights file.
    """
    path = default_weights() if name is None else find_weights(str(name))
    return network_from_weights(load_weights(path))


def shapes(
    network: Network, wanted: Iterable[str], height: int, width: int
) -> list[tuple[VggLayer, tuple[int, int, int]]]:
    """List the layers down to the deepest wanted activation, with the shapes of their outputs.

    Parameters
    ----------
    network : Network
    wanted : names of activations
    height, width : int
        Size of the picture.

    Raises
    ------
    InputError
        If the picture is too small for the deepest wanted activation.
    """
    result: list[tuple[VggLayer, tuple[int, int, int]]] = []
    shape = (height, width, 3)
    for layer in network.layers[: max(map(network.depth, wanted), default=-1) + 1]:
        try:
            if isinstance(layer, Conv):
                size = output_size(shape, layer.kernel.shape, layer.stride, layer.padding)
                shape = (*size, layer.kernel.shape[3])
            elif isinstance(layer, Pool):
                shape = (*output_size(shape, (layer.size, layer.size), layer.stride), shape[2])
        except ValueError as error:
            raise InputError(
                f"a picture of {width}x{height} pixels is too small for layer {layer.name} of "
                f"network {network.name}; use a larger --size or a shallower layer"
            ) from error
        result.append((layer, shape))
    return result
