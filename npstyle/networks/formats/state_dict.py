"""Find a VGG among the tensors of a PyTorch module by their names.

`features.N.weight` (torchvision, timm)
    N counts convolutions, ReLUs and pooling layers, so two convolutions of a block are 2 apart, and
    3 across a pooling layer. The network expects RGB, 0..1, minus ImageNet's mean, divided by its
    standard deviation.
`conv1_1.weight` (copies of the Caffe network by Gatys and others)
    The network expects BGR, 0..255, minus ImageNet's mean.

Johnson's copies (vgg19-d01eb7cb.pth, vgg16-00b39a1b.pth) use torchvision's names for Caffe's
numbers. Their classifier identifies them: its layers are classifier.1, 4 and 6, but 0, 3 and 6 in
torchvision. Files without a classifier are identified by the first biases of Caffe's VGG-19.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, TORCHVISION, Found

CAFFE_FIRST_BIASES = (0.7301776, 0.06493629, 0.03428847, 0.8260386, 0.2578029)
"""First biases of conv1_1 in VGG-19 as Simonyan and Zisserman published it."""


class Shaped(Protocol):
    """A tensor that has not been read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""


T = TypeVar("T", bound=Shaped)
R = TypeVar("R")

Find = Callable[[Path, Mapping[str, Any], Callable[[Any], Array]], R]
"""Finds a network among named tensors: from the file, for messages, the tensors, of which only the
shapes have been read, and a function that reads one of them."""


def find_convolutions(source: Path, tensors: Mapping[str, T], read: Callable[[T], Array]) -> Found:
    """Find the convolutions of a VGG and read them, and no other tensors.

    Parameters
    ----------
    source : Path
        The file, for messages.
    tensors : mapping from name to what `read` takes
    read : callable
        Returns the array of a tensor.

    Raises
    ------
    InputError
        If the names are not those of a supported VGG.
    """
    prefixes = {
        name.removesuffix(".weight"): name.removesuffix(".weight")
        for name in tensors
        if re.fullmatch(r"conv\d_\d\.weight", name)
    }
    like_caffe = bool(prefixes)
    if not like_caffe:
        prefixes = _by_number(source, tensors)
    kernels: dict[str, Array] = {}
    biases: dict[str, Array] = {}
    for layer, prefix in prefixes.items():
        for part, ndim, found in (("weight", 4, kernels), ("bias", 1, biases)):
            name = f"{prefix}.{part}"
            if name not in tensors:
                raise InputError(
                    f"{source}: the tensor {name} is missing; the file is incomplete, get it again"
                )
            if len(tensors[name].shape) != ndim:
                raise InputError(
                    f"{source}: the tensor {name} has shape {tensors[name].shape}; it must have "
                    f"{ndim} dimension{'s' if ndim > 1 else ''}"
                )
            found[layer] = read(tensors[name])
    caffe = like_caffe or "classifier.1.weight" in tensors or _is_caffes(biases)
    return Found(
        kernels,
        biases,
        CAFFE if caffe else TORCHVISION,
        "a PyTorch copy of Simonyan and Zisserman's Caffe network" if caffe else "torchvision",
        OXFORD_LICENSE if caffe else "that of torchvision's weights",
    )


def _by_number(source: Path, tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return the prefixes features.N by VGG's names of the layers."""
    matches = [re.fullmatch(r"features\.(\d{1,3})\.weight", name) for name in tensors]
    numbers = sorted(int(match[1]) for match in matches if match)
    if any(re.fullmatch(r"features\.\d{1,3}\.running_mean", name) for name in tensors):
        raise InputError(
            f"{source}: is a VGG with batch normalisation, which npstyle does not support; "
            "use one without (torchvision's vgg19, not vgg19_bn)"
        )
    if not numbers:
        shown = ", ".join(list(tensors)[:3])[:100] or "no tensors"
        raise InputError(
            f"{source}: has no tensors of a VGG (features.0.weight or conv1_1.weight) or of "
            f"PyTorch's fast_neural_style (conv1.conv2d.weight), but {shown}; use the state "
            "dictionary of one of them"
        )
    prefixes, block, count, before = {}, 1, 0, -2
    for number in numbers:
        if number - before not in (2, 3) or (number - before == 3 and count == 0):
            raise InputError(
                f"{source}: features.{number}.weight is in a position where VGG has no "
                "convolution; the file is incomplete or not a VGG"
            )
        block, count = (block, count + 1) if number - before == 2 else (block + 1, 1)
        prefixes[f"conv{block}_{count}"] = f"features.{number}"
        before = number
    return prefixes


def _is_caffes(biases: Mapping[str, Array]) -> bool:
    """Return whether the biases are those of Caffe's VGG-19."""
    first = biases["conv1_1"][: len(CAFFE_FIRST_BIASES)]
    return first.shape == (len(CAFFE_FIRST_BIASES),) and bool(
        np.allclose(first, CAFFE_FIRST_BIASES, rtol=1e-3)
    )
