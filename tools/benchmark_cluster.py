"""Measure tiles on local clusters of one and of two workers, and in this process.

    python tools/benchmark_cluster.py PHOTO PAINTING --network builtin --size 1024 --tile 256

Each worker has one thread, and so does this process. In each round, the three evaluate once, one
after another. The tool prints the medians of the times and of the ratios within a round.
"""

import statistics
import time

import numpy as np
from common import SETTINGS, argument_parser, load_fast, load_pictures, run

from npstyle.engine.threads import use_threads
from npstyle.tiles.cluster.cluster import connect
from npstyle.tiles.objective import TiledObjective

ROUNDS = 5


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--size", type=int, default=1024, help="longest side in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--tile", type=int, default=256, help="longest side of a tile (default: %(default)s)"
    )
    arguments = parser.parse_args()
    bound = load_fast(arguments)
    photo, painting = load_pictures(arguments, arguments.size)
    given = bound, photo, painting, SETTINGS.losses(), arguments.tile
    names = ["no cluster", "1 worker", "2 workers"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gradients = {}
    with connect("local:1") as one, connect("local:2") as two, use_threads(1):
        objectives = {
            name: TiledObjective(*given, cluster=cluster)
            for name, cluster in zip(names, (None, one, two), strict=True)
        }
        for round_number in range(ROUNDS + 1):
            for name, objective in objectives.items():
                start = time.perf_counter()
                gradients[name] = objective(photo).gradient
                if round_number:  # the first round computes the content targets
                    seconds[name].append(time.perf_counter() - start)
        tiles = len(objectives[names[0]].tiles)
    print(f"{tiles} tiles, medians of {ROUNDS} rounds")
    for name in names:
        ratio = statistics.median(
            own / other for own, other in zip(seconds[names[1]], seconds[name], strict=True)
        )
        off = np.linalg.norm(gradients[name] - gradients[names[0]])
        off /= np.linalg.norm(gradients[names[0]])
        print(
            f"{name:10}  {statistics.median(seconds[name]):6.2f} s, {ratio:.2f} times as fast as "
            f"one worker, gradient differs by {off:.0e}"
        )


if __name__ == "__main__":
    run(main)
