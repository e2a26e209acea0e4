"""Find a VGG among the tensors of a PyTorch module by their names.

`features.N.weight` (torchvision, timm)
    N counts convolutions, batch normalisations, ReLUs and pooling layers, so two convolutions of a
    block are 2 apart, or 3 with batch normalisation, and one more across a pooling layer. The
    network expects RGB, 0..1, minus ImageNet's mean, divided by its standard deviation.
`N.weight` (the module `features` alone), `conv1_1.weight` (Gatys and others)
    These names do not say what the network expects; `npstyle.networks.conventions` measures it.

A prefix, such as that of DataParallel (`module.`), may precede all names, and the tensors may lie
in a dictionary inside the file's (`npstyle.networks.formats.places`).

Johnson's copies (vgg19-d01eb7cb.pth, vgg16-00b39a1b.pth) use torchvision's names for Caffe's
numbers. Their classifier identifies them: its layers are classifier.1, 4 and 6, but 0, 3 and 6 in
torchvision.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.architecture import VGG_BLOCKS
from npstyle.networks.formats.batch_norm import fold
from npstyle.networks.formats.found import (
    CAFFE,
    OXFORD_LICENSE,
    TORCHVISION,
    UNKNOWN_LICENSE,
    Found,
    Preprocessing,
)
from npstyle.networks.formats.places import grouped, only_place

NAMED = r"(?P<layer>conv\d_\d)\.(?P<part>weight)"
NUMBERED = r"(?P<number>\d{1,3})\.(?P<part>weight|running_mean)"
FEATURES = r"(|.*[./])features\.(module\.)?"
"""Place of numbered tensors in torchvision's module."""


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


@dataclass(frozen=True)
class _Names:
    """The names of a convolution and, if it has one, of its batch normalisation, without parts."""

    conv: str
    norm: str | None = None


class _NoVggError(Exception):
    """The names are not those of a VGG; the message completes "FILE: ..."."""


def find_convolutions(source: Path, tensors: Mapping[str, T], read: Callable[[T], Array]) -> Found:
    """Find the convolutions of a VGG and read them, and no other tensors.

    A batch normalisation is folded into the convolution before it.

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
        If the names are not those of a supported VGG, or of several.
    """
    place, layers = _only_vgg(source, tensors)
    kernels: dict[str, Array] = {}
    biases: dict[str, Array] = {}
    for layer, names in layers.items():
        kernel = _array(source, tensors, read, f"{names.conv}.weight", 4)
        if names.norm and f"{names.conv}.bias" not in tensors:  # beta takes its place
            bias = np.zeros(len(kernel), np.float32)
        else:
            bias = _array(source, tensors, read, f"{names.conv}.bias", 1)
        if names.norm:
            parts = [
                _array(source, tensors, read, f"{names.norm}.{part}", 1)
                for part in ("weight", "bias", "running_mean", "running_var")
            ]
            if any(part.shape != kernel.shape[:1] for part in [bias, *parts]):
                raise InputError(
                    f"{source}: the batch normalisation {names.norm} does not have the "
                    f"{len(kernel)} channels of {names.conv}; the file is damaged, get it again"
                )
            kernel, bias = fold(kernel, bias, *parts)
        kernels[layer], biases[layer] = kernel, bias
    folded = any(names.norm for names in layers.values())
    return _found(place, tensors, kernels, biases, folded)


def _found(
    place: str,
    tensors: Mapping[str, Any],
    kernels: Mapping[str, Array],
    biases: Mapping[str, Array],
    folded: bool,
) -> Found:
    """Return the convolutions with what the names say about their origin."""
    preprocessing: Preprocessing | None = None
    publisher, license = "PyTorch", UNKNOWN_LICENSE
    if match := re.fullmatch(FEATURES, place):
        if f"{match[1]}classifier.1.weight" in tensors:
            preprocessing, license = CAFFE, OXFORD_LICENSE
            publisher = "a PyTorch copy of Simonyan and Zisserman's Caffe network"
        else:
            preprocessing, license = TORCHVISION, "that of torchvision's weights"
            publisher = "torchvision"
    if folded:
        publisher += "; batch normalisation folded into the convolutions"
    return Found(kernels, biases, preprocessing, publisher, license)


def _only_vgg(source: Path, tensors: Mapping[str, T]) -> tuple[str, dict[str, _Names]]:
    """Return the place of the only VGG and its layers."""
    found: dict[str, dict[str, _Names]] = {}
    errors: dict[str, str] = {}
    for place, matches in grouped(tensors, NAMED).items():
        layers = {match["layer"]: _Names(f"{place}{match['layer']}") for match in matches}
        found[place] = layers
    for place, matches in grouped(tensors, NUMBERED).items():
        numbers = {int(match["number"]) for match in matches if match["part"] == "weight"}
        norms = {int(match["number"]) for match in matches if match["part"] == "running_mean"}
        try:
            layers = _by_number(place, sorted(numbers - norms), norms)
        except _NoVggError as error:
            errors[place] = str(error)
            continue
        if re.fullmatch(FEATURES, place) or _is_vgg(layers):
            found[place] = layers
    whole = {place: layers for place, layers in found.items() if _is_vgg(layers)}
    places = whole or found
    if not places:
        of_features = [error for place, error in errors.items() if re.fullmatch(FEATURES, place)]
        shown = ", ".join(list(tensors)[:3])[:100] or "no tensors"
        raise InputError(
            f"{source}: "
            + next(
                iter(of_features),
                "has no tensors of a VGG (features.0.weight or conv1_1.weight) or of PyTorch's "
                f"fast_neural_style (conv1.conv2d.weight), but {shown}; use the state dictionary "
                "of one of them",
            )
        )
    place = only_place(source, places, "a VGG")
    return place, places[place]


def _is_vgg(layers: Mapping[str, _Names]) -> bool:
    """Return whether the layers are all of those of a VGG."""
    counts = tuple(
        sum(name.startswith(f"conv{block}_") for name in layers) for block in range(1, 6)
    )
    return counts in VGG_BLOCKS.values() and sum(counts) == len(layers)


def _by_number(place: str, numbers: list[int], norms: set[int]) -> dict[str, _Names]:
    """Return the names of the convolutions with these numbers, by VGG's names of the layers."""
    layers: dict[str, _Names] = {}
    block, count, before = 1, 0, -2
    for number in numbers:
        # A ReLU, and perhaps a batch normalisation, lie between two convolutions of a block.
        gap = number - before - (before + 1 in norms)
        if gap not in (2, 3) or (gap == 3 and count == 0):
            raise _NoVggError(
                f"{place}{number}.weight is in a position where VGG has no convolution; the file "
                "is incomplete or not a VGG"
            )
        block, count = (block, count + 1) if gap == 2 else (block + 1, 1)
        norm = f"{place}{number + 1}" if number + 1 in norms else None
        layers[f"conv{block}_{count}"] = _Names(f"{place}{number}", norm)
        before = number
    return layers


def _array(
    source: Path, tensors: Mapping[str, T], read: Callable[[T], Array], name: str, ndim: int
) -> Array:
    """Read a tensor of this number of dimensions."""
    if name not in tensors:
        raise InputError(
            f"{source}: the tensor {name} is missing; the file is incomplete, get it again"
        )
    if len(tensors[name].shape) != ndim:
        raise InputError(
            f"{source}: the tensor {name} has shape {tensors[name].shape}; it must have "
            f"{ndim} dimension{'s' if ndim > 1 else ''}"
        )
    array = read(tensors[name])
    if array.dtype.kind != "f":
        raise InputError(f"{source}: the tensor {name} is {array.dtype}; save it as float32")
    return array
