"""Read the nodes and constants of an ONNX file, without running it.

The library `onnx` decodes the file. Every tensor is checked against the size of the file before
memory is taken for it, and tensors in other files are refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array

MAX_BYTES = 64 << 20
"""Size of a file beyond which it is refused: the networks that are read have 3 MB."""

MAX_NODES = 5000
"""Number of nodes beyond which a graph is refused."""


@dataclass(frozen=True)
class Node:
    """One operation: its name, the kind of operation, its tensors by name, and its attributes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A graph.

    Attributes
    ----------
    path : Path
    inputs : dict
        Shapes by name; None for a free dimension.
    outputs : tuple of str
    constants : dict of arrays
    nodes : tuple of Node
        Every node comes after those that it reads.
    """

    path: Path
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    nodes: tuple[Node, ...]


def is_onnx(start: bytes) -> bool:
    """Whether a file begins like an ONNX model: a version of the format below 32, then a field."""
    return len(start) > 2 and start[0] == 0x08 and 0 < start[1] < 32 and start[2] in b"\x12\x3a"


def read_graph(source: Path) -> Graph:
    """Read an ONNX file.

    Raises
    ------
    InputError
        If the library `onnx` is missing, the file is too large or damaged, or it refers to others.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f"{source}: reading ONNX needs the library onnx; install it with "
            "`pip install 'npstyle[onnx]'`"
        ) from error
    size = source.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"{source}: has {size / 1e6:.0f} MB; style networks have less than "
            f"{MAX_BYTES / 1e6:.0f} MB, so this is another network"
        )
    try:
        model = onnx.ModelProto.FromString(source.read_bytes())
        return _graph(source, model.graph, size)
    except InputError:
        raise
    except Exception as error:  # protobuf and onnx raise almost any exception on damaged files
        raise InputError(
            f"{source}: the ONNX file is damaged or truncated ({type(error).__name__}); get it "
            "again"
        ) from error


def _graph(source: Path, graph: Any, size: int) -> Graph:
    if len(graph.node) > MAX_NODES or not graph.node:
        raise InputError(
            f"{source}: has {len(graph.node)} nodes, which is no style network; use another file"
        )
    constants = {tensor.name: _array(source, tensor, size) for tensor in graph.initializer}
    inputs = {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else None
            for d in value.type.tensor_type.shape.dim
        )
        for value in graph.input
        if value.name not in constants
    }
    nodes = tuple(
        Node(
            node.name or (node.output[0] if node.output else ""),
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {a.name: _attribute(source, a, size) for a in node.attribute},
        )
        for node in graph.node
    )
    return Graph(source, inputs, tuple(value.name for value in graph.output), constants, nodes)


def _attribute(source: Path, attribute: Any, size: int) -> Any:
    import onnx

    if attribute.type == onnx.AttributeProto.TENSOR:
        return _array(source, attribute.t, size)
    if attribute.type == onnx.AttributeProto.GRAPH:
        return None  # no node with a graph of its own is known
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _array(source: Path, tensor: Any, size: int) -> Array:
    """The values of a tensor, which must lie in the file itself."""
    import onnx

    name = tensor.name or "a constant"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(
            f"{source}: {name} lies in another file, which is not read; use a model whose "
            "weights are in the file"
        )
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    dims = tuple(tensor.dims)
    if any(n < 0 for n in dims) or dtype.hasobject or math.prod(dims) > size:
        raise InputError(
            f"{source}: {name} declares {dims} of {dtype}, more than the file contains; the file "
            "is damaged, get it again"
        )
    return np.array(onnx.numpy_helper.to_array(tensor))
