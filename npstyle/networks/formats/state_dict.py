"""A VGG among the tensors of a PyTorch module, by their names.

`features.N.weight` (torchvision, timm)
    N counts convolutions, ReLUs and pooling layers: within a block the convolutions are 2 apart,
    across a pooling layer 3. The input is RGB, 0..1, less ImageNet's mean, by its deviation.
`conv1_1.weight` (Gatys' and others' copies of the Caffe network)
    The input is BGR, 0..255, less ImageNet's mean.

Johnson's copies (vgg19-d01eb7cb.pth, vgg16-00b39a1b.pth) are called like torchvision's and hold
Caffe's numbers. They are told by their head, whose layers are classifier.1, 4 and 6 where
torchvision has 0, 3 and 6, or, without a head, by the first biases of Caffe's VGG-19.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, TORCHVISION, Found

Array = NDArray[Any]

CAFFE_FIRST_BIASES = (0.7301776, 0.06493629, 0.03428847, 0.8260386, 0.2578029)
"""Of conv1_1 of VGG-19 as Simonyan and Zisserman published it."""


class Shaped(Protocol):
    """A tensor that has not been read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""


T = TypeVar("T", bound=Shaped)


def find_convolutions(source: Path, tensors: Mapping[str, T], read: Callable[[T], Array]) -> Found:
    """Find and read VGG's convolutions, and only these.

    Parameters
    ----------
    source : Path
        For messages.
    tensors : mapping from name to what `read` takes
    read : callable
        Gives a tensor's numbers.

    Raises
    ------
    InputError
        If the names are those of no VGG that can be read.
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
                raise InputError(f"{source}: the tensor {name} is missing; the file is incomplete")
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
    """The prefixes features.N, by VGG's names."""
    matches = [re.fullmatch(r"features\.(\d{1,3})\.weight", name) for name in tensors]
    numbers = sorted(int(match[1]) for match in matches if match)
    if any(re.fullmatch(r"features\.\d{1,3}\.running_mean", name) for name in tensors):
        raise InputError(
            f"{source}: is a VGG with batch normalisation, which npstyle has not; "
            "give one without (torchvision's vgg19, not vgg19_bn)"
        )
    if not numbers:
        shown = ", ".join(list(tensors)[:3])[:100] or "none at all"
        raise InputError(
            f"{source}: holds no VGG's tensors (features.0.weight or conv1_1.weight); found {shown}"
        )
    prefixes, block, count, before = {}, 1, 0, -2
    for number in numbers:
        if number - before not in (2, 3) or (number - before == 3 and count == 0):
            raise InputError(
                f"{source}: features.{number}.weight stands where VGG has no convolution; "
                "the file is incomplete or no VGG"
            )
        block, count = (block, count + 1) if number - before == 2 else (block + 1, 1)
        prefixes[f"conv{block}_{count}"] = f"features.{number}"
        before = number
    return prefixes


def _is_caffes(biases: Mapping[str, Array]) -> bool:
    first = biases["conv1_1"][: len(CAFFE_FIRST_BIASES)]
    return first.shape == (len(CAFFE_FIRST_BIASES),) and bool(
        np.allclose(first, CAFFE_FIRST_BIASES, rtol=1e-3)
    )
