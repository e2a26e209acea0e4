"""What the search's way of keeping the box costs in loss, and saves in time.

    python tools/search_loss.py PHOTO PAINTING --network vgg19.npz [--size 192]

npstyle reflects the pixels at the walls of the box; SciPy's L-BFGS-B with bounds and its usual ten
corrections is the comparison. Printed is the lowest loss after so many
evaluations of the preset `gatys`, and what the search takes per evaluation beside them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import SETTINGS, argument_parser, load_fast, load_pictures, run
from scipy.optimize import Bounds, minimize

from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import Evaluation, StyleObjective, build_objective
from npstyle.engine.threads import use_threads
from npstyle.maths.box import PIXEL_MAX
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.optimize import optimize

MARKS = (25, 50, 100, 150)


class Watched:
    """The objective, its time, and the lowest loss after each evaluation."""

    def __init__(self, objective: StyleObjective) -> None:
        self.objective = objective
        self.lowest: list[float] = []
        self.seconds = 0.0

    def __call__(self, pixels: Any) -> Evaluation:
        """Evaluate."""
        start = time.perf_counter()
        found = self.objective(pixels)
        self.seconds += time.perf_counter() - start
        self.lowest.append(min([found.loss, *self.lowest[-1:]]))
        return found


def with_bounds(watched: Watched, start: Any) -> None:
    """SciPy's L-BFGS-B as it comes."""

    def function(flat: Any) -> tuple[float, Any]:
        found = watched(flat.reshape(start.shape))
        return found.loss, found.gradient.ravel()

    options = {"maxfun": MARKS[-1], "maxiter": MARKS[-1], "ftol": 0.0, "gtol": 0.0}
    bounds = Bounds(0.0, PIXEL_MAX)
    minimize(function, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def mirrored(watched: Watched, start: Any) -> None:
    """The search of npstyle."""
    optimize(watched, start, iterations=MARKS[-1])


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=192, help="longest side")
    arguments = parser.parse_args()
    photo, painting = load_pictures(arguments, arguments.size)
    network = load_fast(arguments)
    searches: dict[str, Callable[[Watched, Any], None]] = {
        "bounds, 10 corrections": with_bounds,
        f"mirrored, {CORRECTIONS} corrections": mirrored,
    }
    print(f"{'loss after evaluations':<26}" + "".join(f"{mark:>11}" for mark in MARKS))
    with use_threads(physical_cores()):
        objective = build_objective(network, photo, painting, SETTINGS)
        for name, search in searches.items():
            watched = Watched(objective)
            start = time.perf_counter()
            search(watched, np.array(photo))
            beside = time.perf_counter() - start - watched.seconds
            losses = [watched.lowest[min(mark, len(watched.lowest)) - 1] for mark in MARKS]
            print(
                f"{name:<26}"
                + "".join(f"{loss:>11.4g}" for loss in losses)
                + f"   {beside / len(watched.lowest) * 1e3:.1f} ms of search per evaluation"
                + f" of {watched.seconds / len(watched.lowest) * 1e3:.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
