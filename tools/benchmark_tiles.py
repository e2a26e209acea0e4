"""Measure tiles: time and peak memory of an evaluation as the picture grows and the tile does not.

    python tools/benchmark_tiles.py PHOTO PAINTING --network vgg19 --megapixels 1,2,4,8,16,32

Each picture is the photo, scaled. Each line is a process of its own: the time is that of one
evaluation, preset `gatys`, after the network has seen every tile for the content's target; the peak
is the largest resident memory from the start of the process; and "own" is what a picture of that
size must have: its pixels, its gradient and the content's target, unless that is in a file.
--whole evaluates each also in one piece, in the same process; its peak is then not told.
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

from npstyle.engine.disk import in_memory, on_disk
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import Evaluation, build_objective
from npstyle.engine.threads import use_threads
from npstyle.images.read import image_size, load_image
from npstyle.tiles.objective import TiledObjective
from npstyle.tiles.passes import tile_cost


def longest_side(arguments: argparse.Namespace, megapixels: float) -> int:
    """Longest side of the photo, scaled to that many pixels."""
    height, width = image_size(arguments.photo)
    return round(max(height, width) * (megapixels * 1e6 / (height * width)) ** 0.5)


def timed(objective: TiledObjective, pixels: np.ndarray) -> tuple[float, Evaluation]:
    """Wall time of one evaluation, and what it found."""
    start = time.perf_counter()
    found = objective(pixels)
    return time.perf_counter() - start, found


def measure(arguments: argparse.Namespace, size: int) -> dict[str, float]:
    """One picture: an evaluation's time, the memory so far."""
    network = load_fast(arguments)
    painting = load_image(arguments.painting, arguments.painting_size)
    photo = load_image(arguments.photo, size)
    allocate = in_memory if arguments.scratch is None else on_disk(arguments.scratch)
    with use_threads(physical_cores()):
        objective = TiledObjective(network, photo, painting, SETTINGS, arguments.tile, allocate)
        pixels = photo
        seconds, found = timed(objective, pixels)
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        content = sum(target.nbytes for target in objective.content_targets.values())
        own = pixels.nbytes + found.gradient.nbytes + (0 if arguments.scratch else content)
        result = {"seconds": seconds, "peak": peak, "own": own}
        if arguments.whole:
            in_one = build_objective(network, photo, painting, SETTINGS)
            in_one(pixels)
            start = time.perf_counter()
            expected = in_one(pixels).gradient
            result["whole"] = time.perf_counter() - start
            error = np.linalg.norm(found.gradient - expected) / np.linalg.norm(expected)
            result["error"] = float(error)
            result["expected cost"] = tile_cost(
                network, WANTED[:1], WANTED[1:], photo.shape[:2], arguments.tile
            )
    return {**result, "height": photo.shape[0], "width": photo.shape[1]}


def main() -> None:
    """Measure and print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--megapixels", default="1,2,4,8", help="sizes, commas between")
    parser.add_argument("--size", type=int, help="one size instead, by its longest side")
    parser.add_argument("--tile", type=int, default=1024, help="longest side of a tile")
    parser.add_argument("--painting-size", type=int, default=512)
    parser.add_argument("--scratch", type=Path, help="keep the content's target in a file here")
    parser.add_argument("--whole", action="store_true", help="the picture in one piece, too")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
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
                f"long, {found['expected cost']:.2f} expected; gradients differ by "
                f"{found['error']:.1e}",
                flush=True,
            )
    middle = statistics.median(rates)
    spread = max(abs(rate / middle - 1) for rate in rates)
    print(f"seconds per megapixel: median {middle:.3f}, at most {100 * spread:.0f} % off it")


if __name__ == "__main__":
    run(main)
