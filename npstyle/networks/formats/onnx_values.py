"""What the tensors of a style network in ONNX are, and the arithmetic among them.

A normalisation is many nodes: means, differences, squares, roots. `RULES` lists them, and
`normalization_step` follows them from the picture to the normalised picture. `folded` computes what
depends on constants alone: sizes of paddings, and 8-bit weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npstyle.maths.array import Array
from npstyle.networks.formats.onnx_graph import Node

LEVELS = 255
"""Steps between the smallest and the largest value of an 8-bit number."""

ROUNDING = 1e-6
"""Largest distance from a level, relative to the range, of an array that was rounded to levels."""

MAX_FOLDED = 64
"""Entries of a constant that is computed: paddings and shapes are shorter."""


@dataclass(frozen=True)
class Map:
    """A linear map of the style code: a constant (channels, code), and a bias (channels,)."""

    weights: "Value"
    bias: Array


@dataclass(frozen=True)
class Value:
    """What a tensor is.

    Attributes
    ----------
    kind : str
        "constant"; "code", or "weighted" or "map", computed from it; "picture", the output of
        `layer`; "padded", the same with a reflected border of `array` pixels; or an intermediate
        result of the normalisation of `layer`, see `RULES`.
    layer : str
    array : array or None
    packed : dict of arrays
        A constant stored in 8 bits: the arrays by the ends of their names, "", "_scale" and
        "_offset"; see `npstyle.networks.style_layers`.
    channels_last : bool
        Whether a picture's channels are its last axis.
    epsilon : float
    scale, shift : Map or None
        Of a normalisation, as far as they are known; a "map" is its own scale.
    """

    kind: str
    layer: str = ""
    array: Any = None
    packed: Mapping[str, Array] = field(default_factory=dict)
    channels_last: bool = False
    epsilon: float = 0.0
    scale: Map | None = None
    shift: Map | None = None


RULES: dict[tuple[str, ...], str] = {
    ("GlobalAveragePool", "picture"): "mean",
    ("ReduceMean", "picture"): "mean",
    ("Sub", "picture", "mean"): "deviation",
    ("Mul", "deviation", "deviation"): "square",
    ("Pow", "deviation", "constant"): "square",
    ("GlobalAveragePool", "square"): "variance",
    ("ReduceMean", "square"): "variance",
    ("Add", "variance", "constant"): "variance + epsilon",
    ("Sqrt", "variance + epsilon"): "root",
    ("Reciprocal", "root"): "1 / root",
    ("Div", "constant", "root"): "1 / root",
    # PyTorch multiplies the deviation ...
    ("Mul", "deviation", "1 / root"): "normalised",
    ("Mul", "normalised", "map"): "normalised, scaled",
    ("Add", "normalised, scaled", "map"): "norm",
    # ... and TensorFlow the picture, and corrects the shift.
    ("Mul", "1 / root", "map"): "factor",
    ("Mul", "mean", "factor"): "mean x factor",
    ("Sub", "map", "mean x factor"): "correction",
    ("Mul", "picture", "factor"): "picture x factor",
    ("Add", "picture x factor", "correction"): "norm",
}
"""The steps of an instance normalisation: a node and the kinds that it reads give another kind."""

CONSTANTS = {"Pow": 2.0, "Div": 1.0}
"""The only constant that a step of this kind may read."""


def normalization_step(node: Node, inputs: Sequence[Value]) -> Value | None:
    """Return the result of a node of a normalisation; None if it is none.

    A result of kind "norm" has the layer, epsilon, scale and shift of the normalisation.
    """
    commutes = node.op in ("Add", "Mul") and len(inputs) == 2
    for order in (inputs, inputs[::-1]) if commutes else (inputs,):
        kind = RULES.get((node.op, *(value.kind for value in order)))
        if kind is not None:
            return _merged(node, kind, order)
    return None


def _merged(node: Node, kind: str, inputs: Sequence[Value]) -> Value | None:
    """The result of a step, with what is known of its normalisation; None if inputs disagree."""
    results = [value for value in inputs if value.layer]
    merged = replace(results[0], kind=kind)
    for value in results[1:]:
        scales = {id(v.scale) for v in (merged, value) if v.scale is not None}
        if value.layer != merged.layer or len(scales) > 1:
            return None
        merged = replace(
            merged,
            epsilon=merged.epsilon or value.epsilon,
            scale=merged.scale or value.scale,
            shift=merged.shift or value.shift,
        )
    if node.op == "ReduceMean" and list(node.attributes.get("axes", ())) != [2, 3]:
        return None
    for value in inputs:
        if value.kind == "map":
            of_code = value.scale
            multiplies = node.op == "Mul"
            merged = (
                replace(merged, scale=of_code) if multiplies else replace(merged, shift=of_code)
            )
        elif value.kind == "constant":
            if value.array.size != 1 or CONSTANTS.get(node.op, value.array) != value.array:
                return None
            if node.op == "Add":
                merged = replace(merged, epsilon=float(value.array.reshape(-1)[0]))
    return merged


def folded(node: Node, inputs: Sequence[Value]) -> Value | None:
    """Return the result of a node that reads constants only; None if it is unknown."""
    arrays = [value.array for value in inputs]
    if node.op == "Constant":
        return Value("constant", array=node.attributes.get("value"))
    if node.op == "DequantizeLinear" and len(arrays) == 3:
        return _dequantized(node, *arrays)
    if sum(array.size for array in arrays) > MAX_FOLDED:
        return None
    result: Any = None
    match node.op:
        case "ConstantOfShape":
            shape = tuple(arrays[0].tolist())
            if len(shape) == 1 and 0 <= shape[0] <= MAX_FOLDED:
                result = np.full(shape, node.attributes["value"][0])
        case "Concat":
            result = np.concatenate(arrays, axis=node.attributes["axis"])
        case "Reshape":
            result = arrays[0].reshape(arrays[1].tolist())
        case "Transpose":
            result = arrays[0].transpose(node.attributes["perm"])
        case "Cast":
            result = arrays[0].astype(np.int64)
        case "Slice":
            starts, ends, axes, steps = (array.tolist() for array in arrays[1:])
            slices = [slice(None)] * arrays[0].ndim
            for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
                slices[axis] = slice(start, end if abs(end) < 1 << 62 else None, step)
            result = arrays[0][tuple(slices)]
    return None if result is None else Value("constant", array=result)


def _dequantized(node: Node, q: Array, scale: Array, zero: Array) -> Value | None:
    """(q - zero) scale, with one scale for all or one for each row."""
    if scale.shape != zero.shape or scale.shape not in ((), (1,), q.shape[:1]):
        return None
    if scale.size > 1 and node.attributes.get("axis", 1) != 0:
        return None
    rows = [array.reshape(-1, *[1] * max(0, q.ndim - 1)) for array in (scale, zero)]
    with np.errstate(all="ignore"):  # damaged scales; values that are not finite are refused later
        array = ((q.astype(np.float32) - rows[1].astype(np.float32)) * rows[0]).astype(np.float32)
    is_stored = q.dtype == np.int8 and not zero.any()
    packed = {"": q, "_scale": scale.reshape(-1)} if is_stored else {}
    return Value("constant", array=array.reshape(q.shape), packed=packed)


def packed_levels(array: Array) -> dict[str, Array]:
    """Return an array that was rounded to 256 levels in its 8-bit form; {} if it was not."""
    if not array.size or not np.all(np.isfinite(array)):
        return {}
    low, high = float(array.min()), float(array.max())
    step = (high - low) / LEVELS
    if step <= 0:
        return {}
    q = np.rint((array - low) / step) - 128
    offset = low + 128 * step
    if np.max(np.abs(q * step + offset - array)) > ROUNDING * (high - low):
        return {}
    numbers = {"_scale": step, "_offset": offset}
    return {"": q.astype(np.int8)} | {
        end: np.array([number], np.float32) for end, number in numbers.items()
    }
