"""The rectified linear unit.

Forward:     F = max(Z, 0)
Derivative:  dL/dZ = dL/dF where F > 0, else 0

At Z = 0 the function has a kink: every number between 0 and 1 is a subgradient there. Like the
paper ("0 if F < 0" and the published programs at equality) we take 0. F > 0 exactly where Z > 0,
so the output is all the derivative needs and Z may be overwritten.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def relu(pre_activation: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Rectify: negative values become 0.

    Parameters
    ----------
    pre_activation : array of any shape and float dtype
        Z.
    out : array of the same shape and dtype, optional
        Where to write; may be `pre_activation` itself.

    Returns
    -------
    array
        F, of the same shape and dtype.
    """
    return np.maximum(pre_activation, 0, out=out)


def relu_backward(
    gradient: NDArray[Any], activation: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Derivative of `relu`: let the gradient pass where the unit was active.

    Parameters
    ----------
    gradient : array
        dL/dF.
    activation : array of the same shape
        F, what `relu` returned.
    out : array of the same shape and dtype as `gradient`, optional
        Where to write; may be `gradient` itself.

    Returns
    -------
    array
        dL/dZ.
    """
    return np.multiply(gradient, activation > 0, out=out)
