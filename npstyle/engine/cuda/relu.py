"""The rectified linear unit on a GPU: `npstyle.maths.relu`, with the kernels of `relu.cu`."""

import numpy as np

from npstyle.engine.cuda.arrays import empty, launch_elementwise
from npstyle.maths.array import Array


def relu(pre_activation: Array, out: Array | None = None) -> Array:
    """Rectify: F = max(Z, 0).

    Parameters
    ----------
    pre_activation : float32 or float64 array of any shape
        Z.
    out : array of the same shape and dtype, optional
        Overwritten with the result; may be Z itself.
    """
    out = empty(pre_activation.shape, pre_activation.dtype) if out is None else out
    launch_elementwise("relu", "relu", pre_activation, pre_activation, out)
    return out


def relu_mask(activation: Array) -> Array:
    """Return the booleans F > 0, which are all that the derivative of the ReLU needs."""
    mask = empty(activation.shape, np.bool_)
    launch_elementwise("relu", "relu_mask", activation, activation, mask)
    return mask


def relu_backward(upstream: Array, activation: Array, out: Array | None = None) -> Array:
    """Derivative of `relu`: dL/dZ = dL/dF where F > 0, else 0.

    Parameters
    ----------
    upstream : float32 or float64 array
        dL/dF.
    activation : array of the same shape
        F, or the booleans F > 0.
    out : array of the shape and dtype of `upstream`, optional
        Overwritten with the result; may be `upstream` itself.
    """
    out = empty(upstream.shape, upstream.dtype) if out is None else out
    pointers = mask_pointers(activation)
    launch_elementwise("relu", "relu_backward", upstream, upstream, *pointers, out)
    return out


def mask_pointers(relu_mask: Array | None) -> tuple[Array | None, Array | None]:
    """Split a ReLU mask into the two pointers that kernels take: (bytes or None, F or None)."""
    if relu_mask is None:
        return None, None
    return (relu_mask, None) if relu_mask.dtype == np.bool_ else (None, relu_mask)
