"""Numbers to hold derivatives against."""

import numpy as np


def central_difference(function, x, step=1e-6):
    """df/dx of a scalar function, coordinate by coordinate: (f(x+h) - f(x-h)) / 2h + O(h^2)."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + step
        above = function(x)
        x[index] = kept - step
        below = function(x)
        x[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(value, reference):
    """2-norm of the difference over the 2-norm of the reference."""
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    return np.linalg.norm(value - reference) / np.linalg.norm(reference)


def as_they_are(names):
    """For `npstyle.engine.passes.forward`: take these activations as they are."""
    return dict.fromkeys(names, lambda activation: activation)


def adding(gradients):
    """Losses for `npstyle.engine.passes.backward`, each with a fixed derivative at its
    activation."""

    def loss(values):
        return lambda _, upstream: values.copy() if upstream is None else values + upstream

    return {name: loss(values) for name, values in gradients.items()}
