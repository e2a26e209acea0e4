"""Whether a file of weights still gives the activations that it gave when it was made.

When a file is made, the mean activation of every convolution of one generated picture goes into its
`meta`, computed in float64. `verify` computes them again: equal figures mean that the numbers, the
architecture and the preparation of pictures are those of that day, and that the kernels compute the
same on this machine.

The picture is three plane waves per colour, drawn by a formula, so that it is the same everywhere.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.network import Conv, configure, network_from_weights
from npstyle.networks.normalize import look
from npstyle.networks.weights import Weights

Array = NDArray[Any]

SIZE = (48, 64)
"""Height and width of the picture."""

TOLERANCE = 1e-6
"""Relative difference that rounding may make; in float64 it makes far less."""


def draw_picture() -> Array:
    """The picture (height, width, 3), float64, 0..255."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    colors = [
        np.sin(x / (2 + k) + y / 7) + np.sin(x / 9 - y / (3 + k)) + np.sin((x + y) / (1.5 + k) + k)
        for k in range(3)
    ]
    return 127.5 + 42.5 * np.stack(colors, axis=2)


def mean_activations(weights: Weights) -> dict[str, float]:
    """Mean activation of the picture at every convolution, in float64 with average pooling.

    Returns
    -------
    dict of float, by layer

    Raises
    ------
    InputError
        If the network makes nothing of a picture of this size.
    """
    network = configure(network_from_weights(weights), "avg", np.float64)
    names = [layer.name for layer in network.layers if isinstance(layer, Conv)]
    wanted = [name for name in names if name in network.activations().values()]
    return look(network, draw_picture(), wanted, lambda F: float(F.mean()))


def with_check(weights: Weights) -> Weights:
    """The same weights, with the figures that `check_activations` compares."""
    return replace(weights, check=mean_activations(weights))


def check_activations(path: Path, weights: Weights) -> dict[str, tuple[float, float]]:
    """Compute the figures again.

    Parameters
    ----------
    path : Path
        For messages.
    weights : Weights

    Returns
    -------
    dict of (stored, recomputed), by layer

    Raises
    ------
    InputError
        If the file stores no figures, or one of them is another now.
    """
    if not weights.check:
        raise InputError(
            f"{path}: stores no activations to compare with (it was made by an older version or "
            "another program); convert it anew to have them"
        )
    found = mean_activations(weights)
    pairs = {name: (stored, found.get(name, np.nan)) for name, stored in weights.check.items()}
    for name, (stored, now) in pairs.items():
        if not abs(now - stored) <= TOLERANCE * abs(stored):
            raise InputError(
                f"{path}: the mean activation of {name} is {now:.9g} and was {stored:.9g} when the "
                "file was made: its numbers have been changed; convert or fetch it anew"
            )
    return pairs
