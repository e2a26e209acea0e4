"""Count the evaluations that the preconditioned search saves, and time the search itself.

    python tools/search_loss.py PHOTO PAINTING [PHOTO PAINTING ...] --network vgg19.npz --size 256

Two searches start from the photo, or from noise, with the objective of a preset:

    pixels          SciPy's L-BFGS-B on reflected pixels; its first step has the length 1
    preconditioned  npstyle's default search

For each pair of pictures the tool prints the lowest loss of the first search after 50, 100, 150
and 300 evaluations. The number behind it is the count of evaluations that the second needs for this
loss, divided by those of the first: below 1, npstyle's search is ahead; with "inf" it did not get
there in time. The last column are the evaluations of the first step. Below the table are the means
over the pairs, and the time that the searches take for themselves.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from common import load_pictures, pairs_parser, run, sizes
from scipy.optimize import minimize

from npstyle.engine.bind import bind
from npstyle.engine.device import CPU, engine_of
from npstyle.engine.losses import Evaluation
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.maths.box import mirror, mirror_backward
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import with_preset
from npstyle.run.start import search_colors, starting_picture
from npstyle.search.coordinates import COLORS, Colors
from npstyle.search.optimize import optimize

Search = Callable[["Watched", Array], None]


class EnoughError(Exception):
    """The objective has been evaluated as often as asked for."""


class Watched:
    """An objective that records its time, and the lowest loss after each evaluation.

    `first_step` is the number of evaluations that the search spent on its first step.
    """

    def __init__(self, objective: StyleObjective, limit: int) -> None:
        self.objective = objective
        self.limit = limit
        self.lowest: list[float] = []
        self.seconds = 0.0
        self.first_step = 0

    def __call__(self, pixels: Array) -> Evaluation:
        """Evaluate the objective."""
        if len(self.lowest) == self.limit:
            raise EnoughError
        start = time.perf_counter()
        found = self.objective(pixels)
        self.seconds += time.perf_counter() - start
        self.lowest.append(min([found.loss, *self.lowest[-1:]]))
        return found

    def step(self, _: object) -> None:
        """Take note of a step."""
        self.first_step = self.first_step or len(self.lowest)

    def needed(self, target: float) -> float:
        """Return the number of evaluations after which the loss is at most `target`."""
        return next((k + 1 for k, loss in enumerate(self.lowest) if loss <= target), np.inf)


def pixels(watched: Watched, start: Array) -> None:
    """Run SciPy's L-BFGS-B on reflected pixels."""

    def function(z: Array) -> tuple[float, Array]:
        found = watched(mirror(z).reshape(start.shape))
        return found.loss, mirror_backward(found.gradient.ravel(), z)

    options = {"maxiter": 10**6, "maxfun": 10**6, "ftol": 0.0, "gtol": 0.0}
    minimize(
        function, start.ravel(), jac=True, method="L-BFGS-B", callback=watched.step, options=options
    )


def preconditioned(watched: Watched, start: Array, colors: Colors | None = COLORS) -> None:
    """Run npstyle's search."""
    optimize(watched, start, iterations=10**6, precondition=colors, callback=watched.step)


def watch(
    search: Search, objective: StyleObjective, start: Array, limit: int
) -> tuple[Watched, float]:
    """Run a search; return what was watched, and its own time as a share of the evaluations'."""
    watched = Watched(objective, limit)
    begin = time.perf_counter()
    with suppress(EnoughError):
        search(watched, start)
    return watched, (time.perf_counter() - begin) / watched.seconds - 1


def row(name: str, cells: Sequence[str]) -> None:
    """Print one line of the table."""
    print(f"{name:<34}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def main() -> None:
    """Read the options, measure, print a table."""
    parser = pairs_parser(__doc__, 256)
    parser.add_argument("--preset", default="gatys", help="default: %(default)s")
    parser.add_argument(
        "--marks",
        type=sizes,
        default=[50, 100, 150, 300],
        help="numbers of evaluations to compare at (default: 50,100,150,300)",
    )
    arguments = parser.parse_args()
    marks = arguments.marks
    settings = with_preset({"preset": arguments.preset})
    if settings.init == "auto":
        settings = replace(settings, init="content")
    network = configure(load_network(arguments.network), settings.pooling, padding=settings.padding)
    layers = [*settings.content_layers, *settings.style_layers]
    bound = bind(network, layers, engine=engine_of(CPU, fast=True), route="fast")
    row("", [f"after {mark}" for mark in marks])
    search = partial(preconditioned, colors=search_colors(settings))
    ratios, shares = [], []
    pairs = zip(arguments.pictures[::2], arguments.pictures[1::2], strict=True)
    with use_threads(physical_cores()):
        for arguments.photo, arguments.painting in pairs:
            photo, painting = load_pictures(arguments, arguments.size)
            objective = StyleObjective(bound, photo, painting, settings.losses())
            start = starting_picture(settings, photo, painting)
            before, share_before = watch(pixels, objective, start, marks[-1])
            after, share_after = watch(search, objective, start, marks[-1])
            targets = [before.lowest[min(mark, len(before.lowest)) - 1] for mark in marks]
            ratios.append([after.needed(t) / mark for t, mark in zip(targets, marks, strict=True)])
            shares.append((share_before, share_after))
            row(
                f"{arguments.photo.stem}, {arguments.painting.stem}",
                [f"{t:.3g}  {ratio:.2f}" for t, ratio in zip(targets, ratios[-1], strict=True)]
                + [f"{before.first_step} and {after.first_step}"],
            )
    row("mean", [f"{mean:.2f}" for mean in np.mean(ratios, axis=0)])
    share_before, share_after = np.median(shares, axis=0)
    print(
        f"the search's own time, relative to the evaluations': {share_after:.1%}, "
        f"with pixels {share_before:.1%}"
    )


if __name__ == "__main__":
    run(main)
