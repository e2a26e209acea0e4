"""Central differences, relative errors, and short ways to run a bound network."""

import numpy as np

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.engine.passes import backward, forward, prepare
from npstyle.tiles.objective import TiledObjective


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


def as_bound(network):
    """A bound network, from a network or from one that is bound already."""
    return network if isinstance(network, BoundNetwork) else bind(network)


def run_forward(network, image, names):
    """The activations of these names, and the cache for `run_backward`."""
    bound = as_bound(network)
    cache = prepare(bound, image, names)
    found = dict(forward(bound, cache))
    return {name: found[name] for name in names}, cache


def run_backward(network, cache, gradients):
    """Propagate fixed gradients at activations back to the image."""
    for name, _, out in backward(as_bound(network), cache):
        out += gradients[name]
    return cache.gradient


def make_objective(network, photo, painting, settings=None, **losses):
    """The objective of some settings, or of the losses given by name."""
    losses = Losses(**losses) if settings is None else settings.losses()
    return StyleObjective(as_bound(network), photo, painting, losses)


def make_tiled(network, photo, painting, settings, tile, *options, **more):
    """The objective by tiles of some settings."""
    bound = as_bound(network)
    return TiledObjective(bound, photo, painting, settings.losses(), tile, *options, **more)
