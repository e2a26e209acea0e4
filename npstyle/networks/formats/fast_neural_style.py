"""Find a style network of PyTorch's examples, `fast_neural_style`, among named tensors.

The network takes RGB, 0..255, and its output is a picture in the same range, which may exceed it.
Each convolution sees its input mirrored at the edges, and each normalisation is one of instances:

    conv1, in1, relu       9x9, from the picture
    conv2, in2, relu       3x3, stride 2
    conv3, in3, relu       3x3, stride 2
    res1, res2, ...        x + in2(conv2(relu(in1(conv1(x))))), 3x3
    deconv1, in4, relu     3x3, of its input enlarged by 2
    deconv2, in5, relu     3x3, of its input enlarged by 2
    deconv3                9x9, to the picture

The tensors are named after these modules: `conv1.conv2d.weight` (out, in, kernel height, kernel
width), `conv1.conv2d.bias`, `in1.weight` (channels,), `in1.bias`, `res1.conv1.conv2d.weight`, ...
The numbers of channels and of residual blocks are those of the file; the published networks have
32, 64 and 128 channels and five blocks.

A prefix, such as that of DataParallel (`module.`), may precede all names, and the tensors may lie
in a dictionary inside the file's (`npstyle.networks.formats.places`).

Before version 0.4, PyTorch stored a running mean and a running variance with each normalisation
(`in1.running_mean`), which this network never used. They are not read.

Source: github.com/pytorch/examples, `fast_neural_style`, after Johnson, Alahi and Fei-Fei (arXiv
1603.08155) and Ulyanov, Vedaldi and Lempitsky (arXiv 1607.08022).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Generic

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu, Upsample
from npstyle.networks.formats.found import FoundNetwork
from npstyle.networks.formats.places import NESTING, grouped, only_place
from npstyle.networks.formats.state_dict import T

EPSILON = 1e-5
"""Added to every variance; the default of PyTorch's normalisation."""


def is_fast_neural_style(names: Iterable[str]) -> bool:
    """Return whether one of the names is that of a convolution of such a network."""
    return bool(_places(names))


def _places(names: Iterable[str]) -> list[str]:
    """Return the places of such networks among the tensors of a file."""
    places = grouped(names, r"(de)?conv\d\.conv2d\.weight")
    return [place for place in places if not re.search(r"\bres\d+\.$", place)]


def find_style_network(
    source: Path, tensors: Mapping[str, T], read: Callable[[T], Array]
) -> FoundNetwork:
    """Find the layers of a style network and read their arrays.

    Parameters
    ----------
    source : Path
        The file, for messages.
    tensors : mapping from name to what `read` takes
    read : callable
        Returns the array of a tensor.

    Returns
    -------
    FoundNetwork
        Layers in float32, named after the file's modules; `packed` has the arrays of a file in
        float16.

    Raises
    ------
    InputError
        If a tensor is missing, unknown, or of another shape than the network's.
    """
    places = _places(tensors) or [""]  # without one, a message says what is missing
    place = only_place(source, places, "a style network of PyTorch's fast_neural_style")
    tensors = {
        name.removeprefix(place): tensor
        for name, tensor in tensors.items()
        if name.startswith(place) and NESTING not in name.removeprefix(place)
    }
    builder = _Builder(source, tensors, read)
    for number, (size, stride) in enumerate(((9, 1), (3, 2), (3, 2)), start=1):
        builder.convolution(f"conv{number}", size, stride)
        builder.norm(f"in{number}")
        builder.relu(f"relu{number}")
    blocks = {match[0] for name in tensors if (match := re.match(r"res\d+(?=\.)", name))}
    for number in range(1, len(blocks) + 1):
        builder.residual_block(f"res{number}")
    for number in (1, 2):
        builder.upsample(f"deconv{number}.upsample")
        builder.convolution(f"deconv{number}", 3)
        builder.norm(f"in{number + 3}")
        builder.relu(f"relu{number + 3}")
    builder.convolution("deconv3", 9, filters=3)
    return builder.finished()


class _Builder(Generic[T]):
    """Appends layers one by one, and counts the channels and the tensors used."""

    def __init__(self, source: Path, tensors: Mapping[str, T], read: Callable[[T], Array]) -> None:
        self._source, self._tensors, self._read = source, tensors, read
        self._found = FoundNetwork()
        self._channels = 3
        self._used: set[str] = set()

    def convolution(
        self, name: str, size: int, stride: int = 1, filters: int | None = None
    ) -> None:
        """Append a convolution, size x size, with `filters` filters or as many as the file has."""
        shape = (filters, self._channels, size, size)
        weight = self._take(f"{name}.conv2d.weight", shape, f"{name}.weight")
        self._channels = len(weight)
        bias = self._take(f"{name}.conv2d.bias", (self._channels,), f"{name}.bias")
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        self._found.layers.append(Conv(name, kernel, bias, stride, size // 2, "reflect"))

    def norm(self, name: str) -> None:
        """Append an instance normalisation; its scale is the file's weight, its shift the bias."""
        scale = self._take(f"{name}.weight", (self._channels,), f"{name}.scale")
        shift = self._take(f"{name}.bias", (self._channels,), f"{name}.shift")
        self._found.layers.append(InstanceNorm(name, scale, shift, EPSILON))

    def relu(self, name: str) -> None:
        """Append a ReLU."""
        self._found.layers.append(Relu(name))

    def upsample(self, name: str) -> None:
        """Append an upsampling by 2."""
        self._found.layers.append(Upsample(name, 2))

    def residual_block(self, name: str) -> None:
        """Append the layers of a block and the sum of their output and the block's input."""
        before = self._found.layers[-1].name
        channels = self._channels
        self.convolution(f"{name}.conv1", 3)
        self.norm(f"{name}.in1")
        self.relu(f"{name}.relu")
        self.convolution(f"{name}.conv2", 3, filters=channels)
        self.norm(f"{name}.in2")
        self._found.layers.append(Add(f"{name}.add", before))

    def finished(self) -> FoundNetwork:
        """Return the network; raise InputError if the file has tensors of another one."""
        rest = [name for name in self._tensors if name not in self._used]
        self._found.ignored = tuple(
            name
            for name in rest
            if (match := re.fullmatch(r"(.*\bin\d)\.running_(mean|var)", name))
            and f"{match[1]}.weight" in self._used
        )
        unknown = [name for name in rest if name not in self._found.ignored]
        if unknown:
            raise InputError(
                f"{self._source}: has the tensor {unknown[0][:80]}, which no network of PyTorch's "
                "fast_neural_style has; use the state dictionary of such a network"
            )
        return self._found

    def _take(self, name: str, shape: tuple[int | None, ...], stored: str) -> Array:
        """Return a tensor of this shape, with any length for None, in float32.

        `stored` is its name in npstyle's file, under which an array of float16 is kept.
        """
        if name not in self._tensors:
            raise InputError(
                f"{self._source}: has tensors of PyTorch's fast_neural_style but not {name}; the "
                "file is incomplete or another network"
            )
        found = self._tensors[name].shape
        fits = len(found) == len(shape) and 0 not in found
        if not fits or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise InputError(
                f"{self._source}: the tensor {name} has shape {found}, but in PyTorch's "
                f"fast_neural_style it is ({wanted}); the file is damaged or another network"
            )
        array = self._read(self._tensors[name])
        if array.dtype.kind != "f":
            raise InputError(
                f"{self._source}: the tensor {name} is {array.dtype}; save it as float32"
            )
        self._used.add(name)
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if not np.all(np.isfinite(single)):
            raise InputError(
                f"{self._source}: {name} contains NaN or infinity; the file is damaged, get it "
                "again"
            )
        if array.dtype == np.float16:
            self._found.packed[stored] = array
        return single
