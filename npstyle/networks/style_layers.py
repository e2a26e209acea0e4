"""The layers of a feed-forward network as JSON and arrays.

Each layer is an object with a kind, a name and its numbers. Its arrays are stored under its name:

    {"kind": "conv", "name": "conv1", "stride": 2, "padding": 1, "edges": "reflect"}
                              conv1.weight (out, in, kernel height, kernel width), conv1.bias (out,)
    {"kind": "depthwise", "name": "conv2", "stride": 1, "padding": 1}
                              conv2.weight (channels, 1, kernel height, kernel width), conv2.bias
    {"kind": "norm", "name": "norm1", "epsilon": 1e-5}
                              norm1.scale (channels,), norm1.shift (channels,)
    {"kind": "conditional", "name": "norm1", "epsilon": 1e-5}
                              norm1.scale.weight (channels, code), norm1.scale.bias (channels,),
                              norm1.shift.weight, norm1.shift.bias
    {"kind": "pad", "name": "pad1", "before": 0, "after": 1}
    {"kind": "upsample", "name": "upsample1", "factor": 2}
    {"kind": "add", "name": "add1", "skip": "relu3"}
    {"kind": "relu" or "relu6" or "sigmoid" or "mean", "name": "relu1"}

An array of int8 numbers q has a scale beside it, `conv1.weight_scale` (out,) or (1,), and may have
an offset, `conv1.weight_offset`: its values are q scale + offset.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Layer,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)

StyleLayer = Layer | ConditionalNorm
"""A layer of a feed-forward network."""

MAX_NUMBER = 64
"""Largest stride, padding or factor of a layer."""


@dataclass(frozen=True)
class _Kind:
    """How one kind of layer is stored.

    Attributes
    ----------
    layer : type
        Of the textbook.
    numbers : dict
        Smallest value of each integer field.
    build : callable
        From the source of arrays, the layer's name, and its fields, to the layer.
    store : callable
        From the layer to its arrays by the end of their names.
    """

    layer: type[StyleLayer]
    numbers: Mapping[str, int]
    build: Callable[["Arrays", str, Mapping[str, Any]], StyleLayer]
    store: Callable[[Any], dict[str, Array]] = lambda _: {}


class Arrays:
    """The arrays of a file, unpacked to float32 and checked as layers ask for them.

    Parameters
    ----------
    path : Path
        For messages.
    tensors : dict of arrays
    prefix : str
        Beginning of the names of one network's arrays.
    channels : int
        Channels of the network's input. Layers change it as they are built.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, Array], prefix: str, channels: int = 3
    ) -> None:
        self.path, self.channels = path, channels
        self.code = 0
        """Length of the style code; 0 until a conditional normalisation is built."""
        self.used: set[str] = set()
        """Names of the arrays that layers have asked for."""
        self._tensors, self._prefix = tensors, prefix

    def take(self, name: str, shape: tuple[int | None, ...]) -> Array:
        """Return an array; raise InputError unless it has this shape, with any length for None."""
        stored = self._prefix + name
        array = self._get(stored, (np.float16, np.float32, np.float64, np.int8))
        fits = len(array.shape) == len(shape) and 0 not in array.shape
        if not fits or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise InputError(
                f"{self.path}: the array {stored} has shape {array.shape}; it must be ({wanted})"
            )
        if array.dtype != np.int8:
            return array.astype(np.float32)
        unpacked = array * self._rows(stored, "_scale", array)
        if f"{stored}_offset" in self._tensors:
            unpacked = unpacked + self._rows(stored, "_offset", array)
        return unpacked.astype(np.float32)

    def _get(self, stored: str, dtypes: tuple[type, ...]) -> Array:
        if stored not in self._tensors:
            raise InputError(f"{self.path}: the array {stored} is missing; convert it again")
        self.used.add(stored)
        array = self._tensors[stored]
        if array.dtype not in dtypes:
            names = ", ".join(np.dtype(dtype).name for dtype in dtypes)
            raise InputError(
                f"{self.path}: the array {stored} is {array.dtype}; it must be one of {names}"
            )
        return array

    def _rows(self, stored: str, end: str, array: Array) -> Array:
        """One number for each row of a packed array."""
        rows = self._get(stored + end, (np.float32,))
        if rows.shape not in ((1,), array.shape[:1]):
            raise InputError(
                f"{self.path}: the array {stored}{end} has shape {rows.shape}; it must be (1,) or "
                f"{array.shape[:1]}"
            )
        return rows.reshape(-1, *[1] * (array.ndim - 1))

    def kernel(self, name: str) -> Array:
        """Return a kernel (height, width, channels in, out); its filters are the new channels."""
        kernel = self.take(f"{name}.weight", (None, self.channels, None, None))
        self.channels = len(kernel)
        return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))

    def depthwise_kernel(self, name: str) -> Array:
        """Return a kernel (height, width, channels)."""
        kernel = self.take(f"{name}.weight", (self.channels, 1, None, None))
        return np.ascontiguousarray(kernel[:, 0].transpose(1, 2, 0))

    def vector(self, name: str) -> Array:
        """Return one number for each channel."""
        return self.take(name, (self.channels,))

    def code_map(self, name: str) -> Array:
        """Return a map (channels, code); all of a network's maps read the same code."""
        found = self.take(name, (self.channels, self.code or None))
        self.code = found.shape[1]
        return found


def _stored_conv(layer: Conv) -> dict[str, Array]:
    return {"weight": layer.kernel.transpose(3, 2, 0, 1), "bias": layer.bias}


def _stored_depthwise(layer: DepthwiseConv) -> dict[str, Array]:
    return {"weight": layer.kernel.transpose(2, 0, 1)[:, np.newaxis], "bias": layer.bias}


def _stored_conditional(layer: ConditionalNorm) -> dict[str, Array]:
    return {
        "scale.weight": layer.scale_weights,
        "scale.bias": layer.scale_bias,
        "shift.weight": layer.shift_weights,
        "shift.bias": layer.shift_bias,
    }


def _conditional(arrays: Arrays, name: str, fields: Mapping[str, Any]) -> ConditionalNorm:
    return ConditionalNorm(
        name,
        arrays.code_map(f"{name}.scale.weight"),
        arrays.vector(f"{name}.scale.bias"),
        arrays.code_map(f"{name}.shift.weight"),
        arrays.vector(f"{name}.shift.bias"),
        fields["epsilon"],
    )


def _plain(layer: Callable[[str], StyleLayer]) -> Callable[..., StyleLayer]:
    """A builder of a layer that has nothing but a name."""
    return lambda arrays, name, fields: layer(name)


KINDS = {
    "conv": _Kind(
        Conv,
        {"stride": 1, "padding": 0},
        lambda a, name, f: Conv(
            name,
            a.kernel(name),
            a.vector(f"{name}.bias"),
            f["stride"],
            f["padding"],
            f["edges"],
        ),
        _stored_conv,
    ),
    "depthwise": _Kind(
        DepthwiseConv,
        {"stride": 1, "padding": 0},
        lambda a, name, f: DepthwiseConv(
            name, a.depthwise_kernel(name), a.vector(f"{name}.bias"), f["stride"], f["padding"]
        ),
        _stored_depthwise,
    ),
    "norm": _Kind(
        InstanceNorm,
        {},
        lambda a, name, f: InstanceNorm(
            name, a.vector(f"{name}.scale"), a.vector(f"{name}.shift"), f["epsilon"]
        ),
        lambda layer: {"scale": layer.scale, "shift": layer.shift},
    ),
    "conditional": _Kind(ConditionalNorm, {}, _conditional, _stored_conditional),
    "pad": _Kind(
        Pad, {"before": 0, "after": 0}, lambda a, name, f: Pad(name, f["before"], f["after"])
    ),
    "upsample": _Kind(Upsample, {"factor": 1}, lambda a, name, f: Upsample(name, f["factor"])),
    "add": _Kind(Add, {}, lambda a, name, f: Add(name, f["skip"])),
    "relu": _Kind(Relu, {}, _plain(Relu)),
    "relu6": _Kind(Relu6, {}, _plain(Relu6)),
    "sigmoid": _Kind(Sigmoid, {}, _plain(Sigmoid)),
    "mean": _Kind(GlobalPool, {}, _plain(GlobalPool)),
}
"""All kinds of layers by their name in the JSON."""


def parse_layers(arrays: Arrays, entries: Any) -> tuple[StyleLayer, ...]:
    """Build the layers of a network from its JSON and its arrays.

    Parameters
    ----------
    arrays : Arrays
        It counts the channels and notes which arrays were used.
    entries : anything
        Decoded JSON; a list of objects if it is valid.

    Raises
    ------
    InputError
        If an entry or an array is not valid, naming the file.
    """
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{arrays.path}: `meta` must list the layers of each network")
    layers: list[StyleLayer] = []
    channels = {"image": arrays.channels}
    for entry in entries:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in KINDS or not isinstance(name, str) or not name:
            raise InputError(
                f"{arrays.path}: the architecture contains {entry!r:.200}, which is not a layer "
                f"with a name and one of the kinds {', '.join(KINDS)}"
            )
        if name in channels:
            raise InputError(f"{arrays.path}: the architecture has two layers named {name}")
        _check_fields(arrays.path, entry, channels, arrays.channels)
        layers.append(KINDS[kind].build(arrays, name, entry))
        channels[name] = arrays.channels
    return tuple(layers)


def _check_fields(
    path: Path, entry: Mapping[str, Any], channels: Mapping[str, int], before: int
) -> None:
    """Raise InputError unless the numbers and the reference of a layer are valid."""
    kind, name = KINDS[entry["kind"]], entry["name"]
    for field, least in kind.numbers.items():
        value = entry.get(field)
        if type(value) is not int or not least <= value <= MAX_NUMBER:
            raise InputError(
                f"{path}: layer {name} has {field} {value!r}; it must be an integer from {least} "
                f"to {MAX_NUMBER}"
            )
    if kind.layer is Conv and entry.get("edges") not in ("zero", "reflect"):
        raise InputError(f'{path}: layer {name} must give "zero" or "reflect" for edges')
    if kind.layer in (InstanceNorm, ConditionalNorm):
        epsilon = entry.get("epsilon")
        if not isinstance(epsilon, float) or not (math.isfinite(epsilon) and epsilon > 0):
            raise InputError(f"{path}: layer {name} has epsilon {epsilon!r}; it must be above 0")
    if kind.layer is Add:
        skip = entry.get("skip")
        if not isinstance(skip, str) or channels.get(skip) != before:
            raise InputError(
                f"{path}: layer {name} adds {skip!r}, which is no earlier layer with as many "
                "channels"
            )


def entries_of(layers: Sequence[StyleLayer]) -> list[dict[str, Any]]:
    """Return the JSON of layers, the inverse of `parse_layers`."""
    entries = []
    for layer in layers:
        name, kind = _kind_of(layer)
        entry: dict[str, Any] = {"kind": name, "name": layer.name}
        entry |= {field: getattr(layer, field) for field in kind.numbers}
        match layer:
            case Conv():
                entry["edges"] = layer.padding_mode
            case InstanceNorm() | ConditionalNorm():
                entry["epsilon"] = layer.epsilon
            case Add():
                entry["skip"] = layer.skip
        entries.append(entry)
    return entries


def tensors_of(layers: Sequence[StyleLayer]) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of layers by their names in a file."""
    for layer in layers:
        for end, array in _kind_of(layer)[1].store(layer).items():
            yield f"{layer.name}.{end}", array


def _kind_of(layer: StyleLayer) -> tuple[str, _Kind]:
    return next((name, kind) for name, kind in KINDS.items() if type(layer) is kind.layer)
