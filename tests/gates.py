"""float32 beside float64, and the ReLU gates that set them apart.

Where a unit's value is all but 0, rounding decides whether its gate is open, and the gradient jumps
with it. Held to the same gates, two precisions can be compared without these jumps.

Also used by tools/exactness.py.
"""

from typing import NamedTuple
from unittest import mock

import numpy as np

from npstyle import backend
from npstyle.network import Relu, accelerate, configure
from npstyle.objective import build_objective
from npstyle.ops.card import to_device, to_host
from npstyle.passes import forward, rectified
from tests.numeric import relative_error


class Errors(NamedTuple):
    """Relative errors of loss and gradient, without and with float64's gates; gates that differ."""

    loss: float
    gradient: float
    gradient_with_gates: float
    other_gates: int
    units: int


def errors(objective, pixels, reference, right):
    """Errors of an objective against another's evaluation and gates."""
    found = objective(pixels)
    with_gates, others = evaluate_with_gates(objective, pixels, right)
    return Errors(
        abs(found.loss / reference.loss - 1),
        relative_error(found.gradient, reference.gradient),
        relative_error(with_gates.gradient, reference.gradient),
        others,
        sum(gate.size for gate in right.values()),
    )


def beside_float64(network, photo, painting, pixels, settings, fast=True):
    """Errors of a route in float32 against plain float64."""
    exact = configure(network, settings.pooling, np.float64)
    network = configure(network, settings.pooling, np.float32)
    if fast:
        network = accelerate(network, [*settings.content_layers, *settings.style_layers])
    with backend.threads(backend.physical_cores()):
        objective = build_objective(exact, photo, painting, settings)
        reference, right = objective(pixels), gates(objective, pixels)
        objective = build_objective(network, photo, painting, settings)
        return errors(objective, pixels, reference, right)


def gates(objective, pixels):
    """Where the units of each ReLU are active, by the ReLU's index."""
    _, tape = objective.value(pixels)
    return {
        index: to_host(rectified(objective.network, tape, index)) > 0
        for index in range(len(tape.entries))
        if isinstance(objective.network.layers[index], Relu)
    }


def evaluate_with_gates(objective, pixels, imposed):
    """The objective's evaluation with these gates, and how many of its own were others."""
    others = 0

    def forward_with_gates(network, image, wanted):
        nonlocal others
        taken, tape = forward(network, image, wanted)
        for index, gate in imposed.items():
            own = to_host(rectified(network, tape, index))
            others += np.count_nonzero((own > 0) != gate)
            if own.dtype != bool:  # an activation: it is moved across 0, but hardly
                barely = np.finfo(own.dtype).tiny
                gate = np.where(gate, np.maximum(own, barely), 0).astype(own.dtype)
            tape.entries[index] = to_device(gate) if network.is_on_gpu else gate
        return taken, tape

    with (
        mock.patch("npstyle.objective.forward", forward_with_gates),
        mock.patch.object(objective, "replays", False),
    ):
        evaluation = objective(pixels)
    return evaluation, others
