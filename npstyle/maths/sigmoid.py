"""The sigmoid: it bounds the output of a network to 0..1.

    Y = 1 / (1 + exp(-Z)) = (1 + tanh(Z / 2)) / 2

The second form does not overflow. Its derivative is

    dY/dZ = (1 - tanh^2(Z / 2)) / 4 = Y (1 - Y)

so it needs only the output.
"""

import numpy as np

from npstyle.maths.array import Array


def sigmoid(Z: Array) -> Array:
    """Y for an array of any shape and float or complex dtype."""
    return (1 + np.tanh(Z / 2)) / 2


def sigmoid_backward(upstream: Array, Y: Array) -> Array:
    """Derivative of `sigmoid`: dL/dZ from dL/dY and Y, arrays of one shape."""
    return upstream * Y * (1 - Y)
