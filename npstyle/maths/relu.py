"""The rectified linear unit: what is negative becomes 0.

Forward
-------
    F = max(Z, 0)

Derivative
----------
    dL/dZ = dL/dF  where F > 0, else 0

At Z = 0 the function has a kink, and every number from 0 to 1 is a subgradient. We take 0, as the
published programs do. Since F > 0 exactly where Z > 0, the derivative needs only the output.

ReLU6
-----
Small networks, made to be computed with 8-bit numbers, also limit the output:

    F = min(max(Z, 0), 6)
    dL/dZ = dL/dF  where 0 < F < 6, else 0

Source: Sandler et al., "MobileNetV2" (arXiv 1801.04381).
"""

import numpy as np

from npstyle.maths.array import Array


def relu(pre_activation: Array) -> Array:
    """Set the negative values of Z, an array of any shape, to 0."""
    return np.maximum(pre_activation, 0)


def relu_backward(upstream: Array, activation: Array) -> Array:
    """Derivative of `relu`: dL/dZ from dL/dF and F, arrays of the same shape."""
    return upstream * (activation > 0)


def relu6(pre_activation: Array) -> Array:
    """Limit Z, an array of any shape, to 0..6."""
    return np.clip(pre_activation, 0, 6)


def relu6_backward(upstream: Array, activation: Array) -> Array:
    """Derivative of `relu6`: dL/dZ from dL/dF and F, arrays of one shape."""
    return upstream * ((activation > 0) & (activation < 6))
