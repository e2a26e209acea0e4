"""Check that a weights file still gives the activations that it gave when it was made.

The `meta` of a file stores the mean activation of every convolution for one generated picture,
computed in float64 when the file was made. `npstyle weights verify` computes these means again. If
they agree, the weights, the architecture and the preprocessing are the original ones, and this
machine computes the same results.

A formula gives the picture, three plane waves per colour, so it is the same on every machine.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.images.pixels import Pixels
from npstyle.networks.activations import activations
from npstyle.networks.architecture import ConvSpec
from npstyle.networks.network import configure, network_from_weights
from npstyle.networks.weights import Weights

SIZE = (48, 64)
"""Height and width of the picture in pixels."""

TOLERANCE = 1e-6
"""Largest relative difference between a stored and a recomputed mean. Rounding in float64 causes
much smaller ones."""


def draw_picture() -> Pixels:
    """Draw the picture: float64 array (height, width, 3), RGB, 0..255."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    colors = [
        np.sin(x / (2 + k) + y / 7) + np.sin(x / 9 - y / (3 + k)) + np.sin((x + y) / (1.5 + k) + k)
        for k in range(3)
    ]
    return 127.5 + 42.5 * np.stack(colors, axis=2)


def layer_means(weights: Weights) -> dict[str, float]:
    """Mean activation of every convolution for the picture, in float64 with average pooling.

    A convolution without a ReLU after it is left out.

    Returns
    -------
    dict of float, by layer

    Raises
    ------
    InputError
        If the picture is too small for the network.
    """
    network = configure(network_from_weights(weights), "avg", np.float64)
    known = network.activations().values()
    convolutions = [spec.name for spec in weights.layers if isinstance(spec, ConvSpec)]
    names = [name for name in convolutions if name in known]
    return {name: float(F.mean()) for name, F in activations(network, draw_picture(), names)}


def with_check(weights: Weights) -> Weights:
    """Add the means that `check_activations` compares."""
    return replace(weights, check=layer_means(weights))


def check_activations(path: Path, weights: Weights) -> dict[str, tuple[float, float]]:
    """Compute the means again and compare them with the stored ones.

    Parameters
    ----------
    path : Path
        The file, for messages.
    weights : Weights

    Returns
    -------
    dict of (stored, recomputed), by layer

    Raises
    ------
    InputError
        If the file stores no means, or one of them differs by more than `TOLERANCE`.
    """
    if not weights.check:
        raise InputError(
            f"{path}: stores no activations to compare with, because an older version or another "
            "program made it; convert it again to add them"
        )
    found = layer_means(weights)
    pairs = {name: (stored, found.get(name, np.nan)) for name, stored in weights.check.items()}
    for name, (stored, now) in pairs.items():
        if not abs(now - stored) <= TOLERANCE * abs(stored):
            raise InputError(
                f"{path}: the mean activation of {name} is {now:.9g}, but it was {stored:.9g} when "
                "the file was made, so its numbers have changed; convert or fetch it again"
            )
    return pairs
