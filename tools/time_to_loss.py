"""Time four programs until each has reached the same loss.

    python tools/time_to_loss.py PHOTO PAINTING --network vgg19.npz --size 512 --evaluations 100

    notebook   PyTorch with `torch.optim.LBFGS([image])`, as the published notebooks call it
    scipy      PyTorch with SciPy's L-BFGS-B on reflected pixels
    npstyle    npstyle without the extra `fast`
    fast       npstyle with it

All lower the loss of the preset `gatys` from the photo, in float32 and on the same threads. The
loss to reach is that of the notebook after so many evaluations. The time runs from the first
evaluation; the programs run one after another. PyTorch comes with the extra `peers`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from common import SETTINGS, WANTED, argument_parser, load_pictures, run
from scipy.optimize import minimize

from npstyle.engine.bind import bind
from npstyle.engine.device import CPU, engine_of, missing_loops
from npstyle.engine.losses import Evaluation
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.maths.box import mirror, mirror_backward
from npstyle.networks.network import load_network
from npstyle.search.optimize import Objective, optimize

try:
    import torch
    from torch_objective import Loss, evaluate, torch_objective
except ImportError:
    sys.exit("time_to_loss: PyTorch is not installed; pip install -e '.[peers]'")

MOST_EVALUATIONS = 1000
"""Evaluations after which a program is stopped although it has not reached the loss."""


class ReachedError(Exception):
    """The loss is low enough, or there were too many evaluations."""


@dataclass
class Clock:
    """The time and the evaluations until a loss is reached.

    Attributes
    ----------
    target : float
        The loss to reach.
    limit : int
        Evaluations after which the program is stopped.
    evaluations : int
        Those so far.
    lowest : float
        The lowest loss so far.
    """

    target: float
    limit: int
    evaluations: int = 0
    lowest: float = float("inf")

    def note(self, loss: float) -> None:
        """Take note of an evaluation; raises ReachedError at the end."""
        self.evaluations += 1
        self.lowest = min(self.lowest, loss)
        if loss <= self.target or self.evaluations == self.limit:
            raise ReachedError

    def watched(self, objective: Objective) -> Objective:
        """Return the objective, with a note of each evaluation."""

        def call(pixels: Array) -> Evaluation:
            found = objective(pixels)
            self.note(found.loss)
            return found

        return call


def notebook(clock: Clock, loss: Loss, pixels: Any) -> None:
    """Run `torch.optim.LBFGS` with its defaults, twenty iterations a call."""
    image = pixels.clone().requires_grad_()
    search: Any = torch.optim.LBFGS([image])

    def closure() -> Any:
        search.zero_grad()
        value = loss(image)
        value.backward()
        clock.note(value.item())
        return value

    while True:
        search.step(closure)


def with_scipy(clock: Clock, objective: Objective, start: Array) -> None:
    """Run SciPy's L-BFGS-B on reflected pixels."""
    objective = clock.watched(objective)

    def function(z: Array) -> tuple[float, Array]:
        found = objective(mirror(z).reshape(start.shape))
        return found.loss, mirror_backward(found.gradient.ravel(), z)

    options = {"maxiter": 10**6, "maxfun": 10**6, "ftol": 0.0, "gtol": 0.0}
    minimize(function, start.ravel(), jac=True, method="L-BFGS-B", options=options)


def with_npstyle(clock: Clock, objective: Objective, start: Array) -> None:
    """Run npstyle's search."""
    optimize(clock.watched(objective), start, iterations=10**6)


def programs(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, Callable[[Clock], None]]]:
    """Yield the name and the search of each program."""
    photo, painting = load_pictures(arguments, arguments.size)
    network = load_network(arguments.network)
    loss, pixels = torch_objective(network, photo, painting, SETTINGS, "cpu")

    def by_torch(image: Array) -> Evaluation:
        turned = torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32)
        value, gradient = evaluate(loss, turned)
        return Evaluation(value, gradient[0].permute(1, 2, 0).numpy().astype(np.float64), {})

    yield "notebook", partial(notebook, loss=loss, pixels=pixels)
    yield "scipy", partial(with_scipy, objective=by_torch, start=photo)
    for name, fast in (("npstyle", False), ("fast", True)):
        if fast and missing_loops():
            continue
        bound = bind(network, WANTED, engine=engine_of(CPU, fast=fast), route="fast")
        objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
        yield name, partial(with_npstyle, objective=objective, start=photo)


def seconds(search: Callable[[Clock], None], clock: Clock) -> float:
    """Run a search until it has reached the loss; return the time."""
    start = time.perf_counter()
    with suppress(ReachedError):
        search(clock)
    return time.perf_counter() - start


def main() -> None:
    """Read the options, run the programs, print a line for each."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--size", type=int, default=512, help="longest side in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--evaluations",
        type=int,
        default=100,
        help="evaluations of the notebook that give the loss to reach (default: %(default)s)",
    )
    arguments = parser.parse_args()
    threads = physical_cores()
    torch.set_num_threads(threads)
    clock, reference = Clock(-np.inf, arguments.evaluations), 0.0
    with use_threads(threads):
        for name, search in programs(arguments):
            taken = seconds(search, clock)
            reference = reference or taken
            print(
                f"{name:<10} {taken:7.1f} s  {clock.evaluations:4d} evaluations  "
                f"loss {clock.lowest:.4g}  notebook's time / its time {reference / taken:.2f}",
                flush=True,
            )
            target = clock.lowest if name == "notebook" else clock.target
            clock = Clock(target, MOST_EVALUATIONS)


if __name__ == "__main__":
    run(main)
