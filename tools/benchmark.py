"""Time one evaluation (loss and gradient at the pixels) against PyTorch's, side by side.

    python tools/benchmark.py PHOTO PAINTING --network vgg19.npz [--sizes 256,512] [--pairs 7]

Both run the preset `gatys` in float32 on the same number of threads. A pair is one evaluation of
each, one right after the other, since the machine's speed drifts; what counts is the median of
the pairs' ratios. PyTorch comes with the extra `peers`.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npstyle import backend
from npstyle.image import load_image
from npstyle.network import Network, accelerate, load_network
from npstyle.objective import build_objective
from npstyle.presets import Settings

try:
    import torch
except ImportError:
    sys.exit("benchmark: PyTorch is not installed; pip install -e '.[peers]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.peer import TorchObjective


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def sgemm_rate() -> float:
    """float32 multiplications and additions per second of a large product, all threads."""
    square = np.random.default_rng(0).standard_normal((3072, 3072), dtype=np.float32)
    return 2 * 3072**3 / min(seconds(lambda: square @ square) for _ in range(3))


def compare(
    photo_path: Path, painting_path: Path, network: Network, size: int, pairs: int, threads: int
) -> None:
    """Time `pairs` pairs of evaluations at one size and print a line."""
    photo, painting = load_image(photo_path, size), load_image(painting_path, size)
    settings = replace(Settings(), size=size)
    rng = np.random.default_rng(0)
    picture = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255)
    theirs = TorchObjective(network, photo, painting, settings, torch.float32)
    ours_seconds, theirs_seconds = [], []
    with backend.threads(threads):
        fast = accelerate(network, [*settings.content_layers, *settings.style_layers])
        ours = build_objective(fast, photo, painting, settings)
        ours(picture)
        theirs(picture)
        for _ in range(pairs):
            ours_seconds.append(seconds(lambda: ours(picture)))
            theirs_seconds.append(seconds(lambda: theirs(picture)))
    ratios = [b / a for a, b in zip(ours_seconds, theirs_seconds, strict=True)]
    print(
        f"{size:>5}  {photo.shape[1]}x{photo.shape[0]:<6}"
        f"{statistics.median(ours_seconds):>9.3f} s{statistics.median(theirs_seconds):>9.3f} s"
        f"{statistics.median(ratios):>8.2f}   ({min(ratios):.2f} .. {max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("--network", default="vgg19", help="a file of weights or a name")
    parser.add_argument("--sizes", default="256,512", help="longest sides, with commas between")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of evaluations per size")
    parser.add_argument("--threads", type=int, default=backend.physical_cores())
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    print(
        f"NumPy {np.__version__}, PyTorch {torch.__version__}, {arguments.threads} threads of "
        f"{os.cpu_count()}, sgemm {sgemm_rate() / 1e9:.0f} GFLOP/s"
    )
    print(f"{'size':>5}  {'pixels':<9}{'npstyle':>10}{'PyTorch':>11}   PyTorch/npstyle (range)")
    network = load_network(arguments.network)
    for size in (int(text) for text in arguments.sizes.split(",")):
        compare(
            arguments.photo, arguments.painting, network, size, arguments.pairs, arguments.threads
        )


if __name__ == "__main__":
    main()
