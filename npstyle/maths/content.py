"""The content loss: how far a picture's activations are from the photo's.

F are the picture's activations at a layer, P the photo's (Gatys et al. 2015, equations 1 and 2):

    L = 1/2 sum (F - P)^2
    dL/dF = F - P

The paper adds the condition "where F > 0, else 0" to the derivative. This is the derivative of the
ReLU whose output is F, and takes the gradient from F to Z, the ReLU's input. Here the chain rule is
applied one function at a time, and `npstyle.maths.relu` contributes the condition.
"""

import numpy as np

from npstyle.maths.array import Array


def content_loss(F: Array, P: Array) -> Array:
    """Half the sum of squared differences of two arrays (height, width, channels): L."""
    return np.sum((F - P) ** 2) / 2


def content_loss_backward(F: Array, P: Array) -> Array:
    """Derivative of `content_loss` with respect to F, of the shape of F."""
    return F - P
