"""The architecture of a sequential network as data: an ordered list of layers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from npstyle.errors import InputError


@dataclass(frozen=True)
class ConvSpec:
    """A convolution. The shapes of its tensors give the kernel size and the channels."""

    name: str
    stride: int
    padding: int
    kind: Literal["conv"] = "conv"


@dataclass(frozen=True)
class ReluSpec:
    """A rectified linear unit."""

    name: str
    kind: Literal["relu"] = "relu"


@dataclass(frozen=True)
class PoolSpec:
    """A pooling layer with windows of `size` x `size`, `stride` apart."""

    name: str
    size: int
    stride: int
    kind: Literal["pool"] = "pool"


LayerSpec = ConvSpec | ReluSpec | PoolSpec


def vgg_architecture(blocks: Sequence[int]) -> tuple[LayerSpec, ...]:
    """Return the layers of a VGG network, given the number of 3x3 convolutions in each block.

    VGG-19 is (2, 2, 4, 4, 4).

    Source: Simonyan and Zisserman, "Very deep convolutional networks" (arXiv 1409.1556), table 1.
    """
    layers: list[LayerSpec] = []
    for block, count in enumerate(blocks, start=1):
        for n in range(1, count + 1):
            layers.append(ConvSpec(f"conv{block}_{n}", stride=1, padding=1))
            layers.append(ReluSpec(f"relu{block}_{n}"))
        layers.append(PoolSpec(f"pool{block}", size=2, stride=2))
    return tuple(layers)


VGG_BLOCKS = {
    "A": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}
"""Number of convolutions per block in the networks of VGG's table 1: VGG-11, 13, 16 (C, D) and 19.

A-LRN, which is A with local response normalisation, is left out. Its authors found that the
normalisation does not help, and no published weights are known.
"""


def vgg_table(letter: str) -> tuple[LayerSpec, ...]:
    """Return the layers of a network of VGG's table 1: "A", "B", "C", "D" or "E".

    C is D with 1x1 convolutions at the end of the blocks 3, 4 and 5. They need no padding; their
    tensors give their size.
    """
    layers = vgg_architecture(VGG_BLOCKS[letter])
    if letter != "C":
        return layers
    one_by_one = ("conv3_3", "conv4_3", "conv5_3")
    return tuple(
        replace(layer, padding=0)
        if isinstance(layer, ConvSpec) and layer.name in one_by_one
        else layer
        for layer in layers
    )


_NUMBERS: dict[str, dict[str, int]] = {
    "conv": {"stride": 1, "padding": 0},
    "relu": {},
    "pool": {"size": 1, "stride": 1},
}
"""Integer fields of each kind of layer, with their smallest valid value."""


def parse_layer(path: Path, entry: Any) -> LayerSpec:
    """Build a layer from its JSON; raise InputError, naming the file, if it is not valid."""
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in _NUMBERS or not isinstance(entry.get("name"), str):
        raise InputError(
            f"{path}: the architecture contains {entry!r}, which is not a conv, relu or pool layer "
            "with a name"
        )
    numbers = {}
    for field, least in _NUMBERS[kind].items():
        value = entry.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1024:
            raise InputError(
                f"{path}: layer {entry['name']} has {field} {value!r}; "
                f"it must be an integer from {least} to 1024"
            )
        numbers[field] = value
    if kind == "conv":
        return ConvSpec(entry["name"], numbers["stride"], numbers["padding"])
    if kind == "pool":
        return PoolSpec(entry["name"], numbers["size"], numbers["stride"])
    return ReluSpec(entry["name"])
