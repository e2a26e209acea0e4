"""Measure time and peak memory of a tiled evaluation as the picture grows.

    python tools/benchmark_tiles.py PHOTO PAINTING --network vgg19 --megapixels 1,2,4,8,16,32

The pictures are the photo at several sizes; the size of the tiles stays the same. Each line of the
table is measured in a process of its own.

    seconds   one evaluation of the preset `gatys`, after the content target has been computed
    peak GB   the largest resident memory since the process started
    own GB    memory that a picture of this size needs in any case: its pixels, its gradient and
              the content target (unless --scratch keeps it in a file)

With --whole, each picture is also evaluated in one piece in the same process, after the peak has
been measured.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import SETTINGS, WANTED, argument_parser, load_fast, run

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.disk import in_memory, on_disk
from npstyle.engine.losses import Evaluation
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.images.read import image_size, load_image
from npstyle.maths.array import Array
from npstyle.tiles.objective import TiledObjective
from npstyle.tiles.passes import tile_cost


def longest_side(arguments: argparse.Namespace, megapixels: float) -> int:
    """Return the longest side of the photo when it is scaled to this many pixels."""
    height, width = image_size(arguments.photo)
    return round(max(height, width) * (megapixels * 1e6 / (height * width)) ** 0.5)


def timed(objective: TiledObjective | StyleObjective, pixels: Array) -> tuple[float, Evaluation]:
    """Evaluate once; return the wall time and the result."""
    start = time.perf_counter()
    found = objective(pixels)
    return time.perf_counter() - start, found


def measure(arguments: argparse.Namespace, size: int) -> dict[str, float]:
    """Measure one evaluation at one size, and the peak memory so far."""
    bound = load_fast(arguments)
    painting = load_image(arguments.painting, arguments.painting_size)
    photo = load_image(arguments.photo, size)
    allocate = in_memory if arguments.scratch is None else on_disk(arguments.scratch)
    with use_threads(physical_cores()):
        objective = TiledObjective(
            bound, photo, painting, SETTINGS.losses(), arguments.tile, allocate
        )
        seconds, found = timed(objective, photo)
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        content = sum(target.nbytes for target in objective.content_targets.values())
        own = photo.nbytes + found.gradient.nbytes + (0 if arguments.scratch else content)
        result = {"seconds": seconds, "peak": peak, "own": own}
        if arguments.whole:
            in_one_piece = StyleObjective(bound, photo, painting, SETTINGS.losses())
            result |= compare_whole(bound, in_one_piece, photo, found.gradient, arguments.tile)
    return {**result, "height": photo.shape[0], "width": photo.shape[1]}


def compare_whole(
    bound: BoundNetwork, in_one_piece: StyleObjective, photo: Array, gradient: Array, tile: int
) -> dict[str, float]:
    """Time an evaluation in one piece, and compare its gradient with that of the tiles."""
    in_one_piece(photo)
    seconds, expected = timed(in_one_piece, photo)
    error = np.linalg.norm(gradient - expected.gradient) / np.linalg.norm(expected.gradient)
    cost = tile_cost(bound, WANTED[:1], WANTED[1:], photo.shape[:2], tile)
    return {"whole": seconds, "error": float(error), "expected cost": cost}


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--megapixels", default="1,2,4,8", help="sizes, separated by commas (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, help="a single size instead, by its longest side")
    parser.add_argument(
        "--tile", type=int, default=1024, help="longest side of a tile (default: %(default)s)"
    )
    parser.add_argument(
        "--painting-size",
        type=int,
        default=512,
        help="longest side of the painting (default: %(default)s)",
    )
    parser.add_argument(
        "--scratch", type=Path, metavar="FOLDER", help="keep the content target in a file here"
    )
    parser.add_argument(
        "--whole", action="store_true", help="evaluate each picture in one piece as well"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Read the options, measure, print a table."""
    arguments = options()
    if arguments.one:
        print(json.dumps(measure(arguments, arguments.one)))
        return
    sides = [arguments.size] if arguments.size else []
    if not sides:
        sides = [longest_side(arguments, float(mp)) for mp in arguments.megapixels.split(",")]
    print("      size  megapixels  seconds  per megapixel  peak GB   own GB", flush=True)
    rates = []
    for side in sides:
        command = [sys.executable, *sys.argv, "--one", str(side)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        megapixels = found["height"] * found["width"] / 1e6
        rates.append(found["seconds"] / megapixels)
        numbers = megapixels, found["seconds"], rates[-1], found["peak"] / 1e9, found["own"] / 1e9
        print(
            f"{found['width']:5.0f}x{found['height']:<5.0f}"
            "{:9.2f} {:9.2f} {:10.3f} {:12.3f} {:8.3f}".format(*numbers),
            flush=True,
        )
        if "whole" in found:
            times = found["seconds"] / found["whole"]
            print(
                f"           in one piece {found['whole']:.2f} s: tiles take {times:.2f} times as "
                f"long ({found['expected cost']:.2f} predicted); gradients differ by "
                f"{found['error']:.1e}",
                flush=True,
            )
    middle = statistics.median(rates)
    spread = max(abs(rate / middle - 1) for rate in rates)
    print(f"seconds per megapixel: median {middle:.3f}, at most {100 * spread:.0f} % away from it")


if __name__ == "__main__":
    run(main)
