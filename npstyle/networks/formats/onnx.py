"""Read style networks from ONNX: Magenta's module for any painting, and networks of several styles.

The nodes are read in order, and each tensor becomes a `Value`, which says what it is. A node that
does not fit into a style network is refused by name.

Quantised networks surround every tensor by QuantizeLinear and DequantizeLinear. On constants these
pairs are the stored weights, which stay int8. On activations they only round, and are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)
from npstyle.networks.formats.found import FoundNetwork
from npstyle.networks.formats.onnx_graph import Node, read_graph
from npstyle.networks.formats.onnx_values import (
    Map,
    Value,
    folded,
    normalization_step,
    packed_levels,
)
from npstyle.networks.style_layers import StyleLayer

LAST = ([0, 3, 1, 2], [0, 2, 3, 1])
"""Orders of axes that move the channels to the front, and back to the end."""


def read_style_onnx(source: Path) -> FoundNetwork:
    """Read the network of one file.

    Raises
    ------
    InputError
        If the file is damaged, or has a node that no style network has.
    """
    graph = read_graph(source)
    reader = _Reader()
    values: dict[str, Value] = {"": Value("constant", array=np.zeros(0))}
    values |= {name: Value("constant", array=array) for name, array in graph.constants.items()}
    values |= {name: _input(shape) for name, shape in graph.inputs.items()}
    for node in graph.nodes:
        try:
            inputs = [values[name] for name in node.inputs]
            values[node.outputs[0]] = _known(reader.value(node, inputs))
        except Exception as error:  # a node with other inputs or attributes than are known
            raise InputError(
                f"{source}: the layer {node.name or '?'} ({node.op}) is unknown in this place; use "
                "Magenta's arbitrary_predict.onnx and arbitrary_transform.onnx, or "
                "multistyle26.onnx"
            ) from error
    ends = [values.get(name) for name in graph.outputs]
    if len(ends) != 1 or ends[0] is None or not reader.is_last(ends[0]) or not reader.found.layers:
        raise InputError(
            f"{source}: does not end in one picture or style code; use a style network"
        )
    return reader.found


def _input(shape: Sequence[int | None]) -> Value:
    if len(shape) == 4 and 3 in (shape[1], shape[3]):
        return Value("picture", "image", channels_last=shape[3] == 3)
    return Value("code")


def _known(value: Value | None) -> Value:
    if value is None:
        raise ValueError("unknown")
    return value


class _Reader:
    """Collects the layers of a network, node by node."""

    def __init__(self) -> None:
        self.found = FoundNetwork()
        self._last = "image"
        self._counts: dict[str, int] = {}

    def value(self, node: Node, inputs: list[Value]) -> Value | None:
        """Return the value of a node's output; None if the node is unknown."""
        if all(value.kind == "constant" for value in inputs):
            return folded(node, inputs)
        if node.op in ("QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Unsqueeze"):
            return self._moved(node, inputs[0])
        step = normalization_step(node, inputs)
        if step is not None:
            known = step.layer == self._last
            return (self._norm(step) if step.kind == "norm" else step) if known else None
        match node.op:
            case "Conv":
                return self._convolution(node, *inputs)
            case "Pad":
                return self._padded(node, *inputs)
            case "Mul" | "ReduceSum":
                return _of_code(node, *inputs)
            case "Add":
                return self._sum(*inputs)
            case "Resize":
                return self._resized(node, *inputs)
        return self._pointwise(node, *inputs)

    def is_last(self, value: Value) -> bool:
        """Whether a value is the output of the last layer."""
        return value.kind == "picture" and value.layer == self._last

    def _name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def _emit(self, layer: StyleLayer, like: Value | None = None) -> Value:
        """Append a layer; its output has its channels where the input has them."""
        self.found.layers.append(layer)
        self._last = layer.name
        return Value("picture", layer.name, channels_last=bool(like and like.channels_last))

    def _moved(self, node: Node, value: Value) -> Value | None:
        """A tensor that is only rounded, or whose axes are moved."""
        if node.op == "Transpose":
            order = list(node.attributes["perm"])
            if value.kind not in ("picture", "padded") or order != LAST[not value.channels_last]:
                return None
            return replace(value, channels_last=not value.channels_last)
        pooled = any(isinstance(layer, GlobalPool) for layer in self.found.layers)
        moves_axes = node.op in ("Reshape", "Unsqueeze")
        if moves_axes and value.kind in ("picture", "padded") and not pooled:
            return None
        return value

    def _norm(self, step: Value) -> Value:
        """The layer of a complete normalisation."""
        assert step.scale is not None  # by the rules
        assert step.shift is not None
        name = self._name("norm")
        for end, found in (("scale", step.scale), ("shift", step.shift)):
            self._pack(f"{name}.{end}.weight", found.weights)
        self.found.reads_code = True
        scale, shift = step.scale, step.shift
        return self._emit(
            ConditionalNorm(
                name,
                scale.weights.array,
                scale.bias,
                shift.weights.array,
                shift.bias,
                step.epsilon,
            )
        )

    def _pack(self, name: str, constant: Value) -> None:
        """Note the stored form of an array, if it has 8 bits."""
        for end, array in (constant.packed or packed_levels(constant.array)).items():
            self.found.packed[f"{name}{end}"] = array

    def _convolution(
        self, node: Node, image: Value, kernel: Value, bias: Value | None = None
    ) -> Value | None:
        """A convolution of the picture, or of the style code."""
        filters = len(kernel.array)
        b = np.zeros(filters, np.float32) if bias is None else bias.array
        if kernel.kind != "constant" or kernel.array.ndim != 4 or b.shape != (filters,):
            return None
        if image.kind == "code" and kernel.array.shape[2:] == (1, 1):
            packed = {end: a.reshape(a.shape[:2]) for end, a in kernel.packed.items()}
            of_code = replace(kernel, array=kernel.array[:, :, 0, 0], packed=packed)
            return Value("map", scale=Map(of_code, b))
        if image.kind == "mean" and image.layer == self._last:
            image = self._emit(GlobalPool(self._name("mean")))
        groups = node.attributes.get("group", 1)
        way = self._geometry(node, image)
        if way is None or (groups != 1 and (groups, kernel.array.shape[1]) != (filters, 1)):
            return None
        stride, padding = way
        name = self._name("conv")
        self._pack(f"{name}.weight", kernel)
        if groups == 1:
            K = np.ascontiguousarray(kernel.array.transpose(2, 3, 1, 0), np.float32)
            reflects = image.kind == "padded"
            return self._emit(Conv(name, K, b, stride, padding, "reflect" if reflects else "zero"))
        K = np.ascontiguousarray(kernel.array[:, 0].transpose(1, 2, 0), np.float32)
        return self._emit(DepthwiseConv(name, K, b, stride, padding))

    def _geometry(self, node: Node, image: Value) -> tuple[int, int] | None:
        """Stride and padding. Zeros that differ before and after become a layer of their own."""
        attributes = node.attributes
        (stride, *strides), pads = attributes.get("strides", [1]), attributes.get("pads", [0] * 4)
        dilated = any(n != 1 for n in attributes.get("dilations", ()))
        if image.layer != self._last or image.channels_last or dilated or {*strides} - {stride}:
            return None
        before, after = pads[0], pads[2]
        if list(pads) != [before, before, after, after]:
            return None
        if image.kind == "padded":
            return (stride, image.array) if before == after == 0 else None
        if before != after:
            self._emit(Pad(self._name("pad"), before, after))
            before = 0
        return (stride, before) if image.kind == "picture" else None

    def _padded(self, node: Node, image: Value, pads: Value, *_: Value) -> Value | None:
        """A reflected border, which is part of the next convolution."""
        amounts = pads.array.tolist()
        if node.attributes.get("mode") != "reflect" or not self.is_last(image):
            return None
        border = amounts[1] if image.channels_last else amounts[2]
        sides = [0, border, border, 0] if image.channels_last else [0, 0, border, border]
        return replace(image, kind="padded", array=border) if amounts == sides * 2 else None

    def _sum(self, one: Value, other: Value) -> Value | None:
        """A residual sum."""
        if self.is_last(other):
            one, other = other, one
        if not self.is_last(one) or other.kind != "picture":
            return None
        return self._emit(Add(self._name("add"), other.layer), one)

    def _resized(self, node: Node, image: Value, _: Value, scales: Value) -> Value | None:
        """Nearest-neighbour upsampling; by a factor of 1 it does nothing."""
        attributes = node.attributes
        mode = attributes.get("coordinate_transformation_mode"), attributes.get("nearest_mode")
        factor = int(scales.array[2])
        if mode != ("asymmetric", "floor") or attributes.get("mode") != "nearest":
            return None
        if scales.array.tolist() != [1, 1, factor, factor] or not self.is_last(image):
            return None
        return self._emit(Upsample(self._name("upsample"), factor)) if factor > 1 else image

    def _pointwise(self, node: Node, image: Value, *limits: Value) -> Value | None:
        """A function of every value by itself."""
        if not self.is_last(image):
            return None
        if node.op == "Clip" and [float(limit.array) for limit in limits] == [0, 6]:
            return self._emit(Relu6(self._name("relu")), image)
        if node.op == "Relu":
            return self._emit(Relu(self._name("relu")), image)
        if node.op == "Sigmoid":
            return self._emit(Sigmoid(self._name("sigmoid")), image)
        return None


def _of_code(node: Node, value: Value, constant: Value) -> Value | None:
    """A sum over learned styles, weighted by the code: a constant (styles, channels) times it."""
    if node.op == "Mul" and value.kind == "code" and constant.array.ndim == 2:
        return Value("weighted", array=constant.array)
    if node.op == "ReduceSum" and value.kind == "weighted" and constant.array.tolist() == [0]:
        weights = Value("constant", array=np.ascontiguousarray(value.array.T))
        return Value("map", scale=Map(weights, np.zeros(len(weights.array), np.float32)))
    return None
