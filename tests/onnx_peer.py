"""The published style networks in onnxruntime, as they are and without rounding activations."""

import onnx
import onnxruntime


def published(path, size=None):
    """The model of a file, for pictures of this height and width if they are fixed."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output] if size else []:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[3].dim_value == 3:
            dims[1].dim_value, dims[2].dim_value = size
    del model.graph.value_info[:]
    return model


def without_rounding(model):
    """The same without the QuantizeLinear and DequantizeLinear nodes around activations."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    renamed, kept = {}, []
    for node in graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = renamed.get(name, name)
        rounds = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if rounds and node.input[0] not in constants:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    for node in kept:
        for k, name in enumerate(node.output):
            last = [value.name for value in graph.output if renamed.get(value.name) == name]
            if last:
                node.output[k] = last[0]
                renamed[name] = last[0]
        for k, name in enumerate(node.input):
            node.input[k] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def session(model, threads=2, optimized=True):
    """Ready to run on the CPU.

    Not optimized, activations that are rounded to 8 bits are multiplied as floats. Products of 8
    bits overflow on processors without VNNI.
    """
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(session, *arrays):
    """The single output for these inputs."""
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]
