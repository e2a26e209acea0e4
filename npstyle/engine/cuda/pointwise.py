"""ReLU6, the sigmoid and sums on a GPU, with the kernels of `pointwise.cu`.

The formulas are those of `npstyle.maths.relu` and `npstyle.maths.sigmoid`.
"""

from npstyle.engine.cuda.arrays import empty, launch_elementwise
from npstyle.maths.array import Array


def relu6(pre_activation: Array, out: Array | None = None) -> Array:
    """F = min(max(Z, 0), 6), an array of the shape of Z; `out` receives it and may be Z itself."""
    return _pointwise("relu6", (pre_activation,), out)


def relu6_backward(upstream: Array, activation: Array) -> Array:
    """Derivative of `relu6`: dL/dZ from dL/dF and F, arrays of one shape."""
    return _pointwise("relu6_backward", (upstream, activation), None)


def sigmoid(Z: Array, out: Array | None = None) -> Array:
    """Y = (1 + tanh(Z / 2)) / 2, an array of the shape of Z; `out` may be Z itself."""
    return _pointwise("sigmoid", (Z,), out)


def sigmoid_backward(upstream: Array, Y: Array) -> Array:
    """Derivative of `sigmoid`: dL/dZ from dL/dY and Y, arrays of one shape."""
    return _pointwise("sigmoid_backward", (upstream, Y), None)


def add(X: Array, S: Array, out: Array | None = None) -> Array:
    """Y = X + S, the residual sum of two arrays of one shape; `out` may be X itself."""
    return _pointwise("add", (X, S), out)


def _pointwise(stem: str, given: tuple[Array, ...], out: Array | None) -> Array:
    like = given[0]
    result = empty(like.shape, like.dtype) if out is None else out
    launch_elementwise("pointwise", stem, like, *given, result)
    return result
