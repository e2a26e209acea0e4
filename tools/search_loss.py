"""Compare npstyle's search with SciPy's L-BFGS-B with bounds: the loss, and the time.

    python tools/search_loss.py PHOTO PAINTING --network vgg19.npz [--size 192]

npstyle keeps the pixels between 0 and 255 by reflecting them, and runs L-BFGS-B without bounds. The
comparison is L-BFGS-B with bounds and a history of 10. The tool prints the lowest loss of the
preset `gatys` after 25, 50, 100 and 150 evaluations, and the time per evaluation that the search
itself takes.
"""

import time
from collections.abc import Callable

import numpy as np
from common import SETTINGS, argument_parser, load_fast, load_pictures, run
from scipy.optimize import Bounds, minimize

from npstyle.engine.losses import Evaluation
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.optimize import optimize

MARKS = (25, 50, 100, 150)
"""Numbers of evaluations after which the lowest loss is printed."""


class Watched:
    """An objective that records its time, and the lowest loss after each evaluation."""

    def __init__(self, objective: StyleObjective) -> None:
        self.objective = objective
        self.lowest: list[float] = []
        self.seconds = 0.0

    def __call__(self, pixels: Array) -> Evaluation:
        """Evaluate the objective."""
        start = time.perf_counter()
        found = self.objective(pixels)
        self.seconds += time.perf_counter() - start
        self.lowest.append(min([found.loss, *self.lowest[-1:]]))
        return found


def with_bounds(watched: Watched, start: Array) -> None:
    """Run SciPy's L-BFGS-B with bounds and its default history."""

    def function(flat: Array) -> tuple[float, Array]:
        found = watched(flat.reshape(start.shape))
        return found.loss, found.gradient.ravel()

    options = {"maxfun": MARKS[-1], "maxiter": MARKS[-1], "ftol": 0.0, "gtol": 0.0}
    bounds = Bounds(0.0, PIXEL_MAX)
    minimize(function, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def mirrored(watched: Watched, start: Array) -> None:
    """Run npstyle's search."""
    optimize(watched, start, iterations=MARKS[-1])


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--size", type=int, default=192, help="longest side in pixels (default: %(default)s)"
    )
    arguments = parser.parse_args()
    photo, painting = load_pictures(arguments, arguments.size)
    bound = load_fast(arguments)
    searches: dict[str, Callable[[Watched, Array], None]] = {
        "bounds, history of 10": with_bounds,
        f"mirrored, history of {CORRECTIONS}": mirrored,
    }
    print(f"{'loss after evaluations':<26}" + "".join(f"{mark:>11}" for mark in MARKS))
    with use_threads(physical_cores()):
        objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
        for name, search in searches.items():
            watched = Watched(objective)
            start = time.perf_counter()
            search(watched, np.array(photo))
            beside = time.perf_counter() - start - watched.seconds
            losses = [watched.lowest[min(mark, len(watched.lowest)) - 1] for mark in MARKS]
            print(
                f"{name:<26}"
                + "".join(f"{loss:>11.4g}" for loss in losses)
                + f"   search {beside / len(watched.lowest) * 1e3:.1f} ms per evaluation"
                + f" of {watched.seconds / len(watched.lowest) * 1e3:.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
