"""A small style network as an ONNX file, with every kind of node that such a network has."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CODE = 5
CHANNELS = 4


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"the {output}", **attributes)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def write_graph(path, nodes, constants, inputs, output="y"):
    """Write a graph with these inputs, a dict of shapes by name."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [value(output, TensorProto.FLOAT, None)],
        constants,
    )
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def _conv(rng, name, x, channels, filters, **attributes):
    """A convolution of the mirrored image with 8-bit weights, whose activations are rounded."""
    q = rng.integers(-127, 128, (filters, channels, 3, 3)).astype(np.int8)
    constants = [
        constant(f"{name}.q", q),
        constant(f"{name}.s", rng.uniform(0.001, 0.01, filters).astype(np.float32)),
        constant(f"{name}.zero", np.zeros(filters, np.int8)),
        constant(f"{name}.b", rng.standard_normal(filters).astype(np.float32)),
        constant(f"{name}.step", np.float32(0.1)),
        constant(f"{name}.middle", np.int8(3)),
    ]
    rounding = [f"{name}.step", f"{name}.middle"]
    nodes = [
        node("DequantizeLinear", [f"{name}.q", f"{name}.s", f"{name}.zero"], f"{name}.K", axis=0),
        node("Pad", [x, "pads"], f"{name}.padded", mode="reflect"),
        node("QuantizeLinear", [f"{name}.padded", *rounding], f"{name}.rounded"),
        node("DequantizeLinear", [f"{name}.rounded", *rounding], f"{name}.x"),
        node("Conv", [f"{name}.x", f"{name}.K", f"{name}.b"], name, **attributes),
    ]
    return nodes, constants


def _norm(rng, name, x):
    """A conditional normalisation as TensorFlow writes it."""
    maps = [
        constant(f"{name}.{of}", rng.standard_normal((CHANNELS, CODE, 1, 1)).astype(np.float32))
        for of in ("A", "B")
    ]
    nodes = [
        node("Conv", ["code", f"{name}.A"], f"{name}.a"),
        node("Conv", ["code", f"{name}.B"], f"{name}.b"),
        node("GlobalAveragePool", [x], f"{name}.m"),
        node("Sub", [x, f"{name}.m"], f"{name}.d"),
        node("Mul", [f"{name}.d", f"{name}.d"], f"{name}.dd"),
        node("GlobalAveragePool", [f"{name}.dd"], f"{name}.v"),
        node("Add", [f"{name}.v", "epsilon"], f"{name}.ve"),
        node("Sqrt", [f"{name}.ve"], f"{name}.root"),
        node("Reciprocal", [f"{name}.root"], f"{name}.inverse"),
        node("Mul", [f"{name}.inverse", f"{name}.a"], f"{name}.factor"),
        node("Mul", [f"{name}.m", f"{name}.factor"], f"{name}.mf"),
        node("Sub", [f"{name}.b", f"{name}.mf"], f"{name}.rest"),
        node("Mul", [x, f"{name}.factor"], f"{name}.xf"),
        node("Add", [f"{name}.xf", f"{name}.rest"], name),
    ]
    return nodes, maps


def write_style(path, rng):
    """Write a network with strides, a residual sum, an upsampling and a style code."""
    nodes, constants = [], []
    for part_nodes, part_constants in (
        _conv(rng, "conv1", "x", 3, CHANNELS, strides=[2, 2]),
        _norm(rng, "norm1", "conv1"),
        ([node("Relu", ["norm1"], "relu1")], []),
        _conv(rng, "conv2", "relu1", CHANNELS, CHANNELS),
        _norm(rng, "norm2", "conv2"),
        ([node("Add", ["norm2", "relu1"], "add1")], []),
        (
            [
                node(
                    "Resize",
                    ["add1", "", "scales"],
                    "up1",
                    coordinate_transformation_mode="asymmetric",
                    mode="nearest",
                    nearest_mode="floor",
                )
            ],
            [],
        ),
        _conv(rng, "conv3", "up1", CHANNELS, 3),
        ([node("Sigmoid", ["conv3"], "y")], []),
    ):
        nodes += part_nodes
        constants += part_constants
    constants += [
        constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        constant("scales", np.array([1, 1, 2, 2], np.float32)),
        constant("epsilon", np.float32(1e-5)),
    ]
    return write_graph(path, nodes, constants, {"x": (1, 3, 8, 8), "code": (1, CODE, 1, 1)})
