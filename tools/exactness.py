"""Measure how far float32 is from float64: the fast route, the plain sums, PyTorch.

    python tools/exactness.py PHOTO PAINTING --network vgg19.npz [--sizes 256,512]

The preset `gatys` is evaluated at several pictures: the photo, the photo with a little and with
much noise, noise alone, the painting. The reference is the plain route in float64. Where a unit is
all but 0, rounding decides whether its ReLU lets the gradient pass, and one such gate changes the
gradient by about 1e-4. So the gradient's error is also measured with float64's gates.
PyTorch comes with the extra `peers`.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import SETTINGS, WANTED, argument_parser, load_pictures, run, sizes

from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import build_objective
from npstyle.engine.threads import use_threads
from npstyle.images.resize import resize
from npstyle.networks.network import Network, accelerate, configure, load_network

try:
    import torch
except ImportError:
    sys.exit("exactness: PyTorch is not installed; pip install -e '.[peers]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.gates import errors, gates
from tests.numeric import relative_error
from tests.peer import TorchObjective


def points(photo: Any, painting: Any) -> list[Any]:
    """Pictures to evaluate at, of the photo's size."""
    rng = np.random.default_rng(0)
    little, much, noise = (rng.normal(0, deviation, photo.shape) for deviation in (1, 20, 30))
    pictures = [photo, photo + little, photo + much, 127.5 + noise]
    return [np.clip(picture, 0, 255) for picture in [*pictures, resize(painting, photo.shape[:2])]]


def measure(network: Network, photo: Any, painting: Any) -> dict[str, list[list[float]]]:
    """By route, one row for each picture: errors of loss and gradient; with gates, their number."""
    exact = build_objective(configure(network, "avg", np.float64), photo, painting, SETTINGS)
    routes = {
        "fast route": build_objective(accelerate(network, WANTED), photo, painting, SETTINGS),
        "plain sums": build_objective(network, photo, painting, SETTINGS),
    }
    peer = TorchObjective(network, photo, painting, SETTINGS, torch.float32)
    found: dict[str, list[list[float]]] = {name: [] for name in [*routes, "PyTorch"]}
    for picture in points(photo, painting):
        reference, right = exact(picture), gates(exact, picture)
        for name, objective in routes.items():
            found[name].append(list(errors(objective, picture, reference, right)))
        loss, gradient = peer(picture)
        error = relative_error(gradient, reference.gradient)
        found["PyTorch"].append([abs(loss / reference.loss - 1), error])
    return found


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=sizes, default="256,512", help="longest sides")
    arguments = parser.parse_args()
    network = load_network(arguments.network)
    print("               loss, worst   gradient, median and worst   with gates, worst   gates")
    with use_threads(physical_cores()):
        for size in arguments.sizes:
            photo, painting = load_pictures(arguments, size)
            print(f"{photo.shape[1]} x {photo.shape[0]}", flush=True)
            for name, rows in measure(network, photo, painting).items():
                loss, gradient, *rest = zip(*rows, strict=True)
                text = f"  {name:<12}{max(loss):>12.0e}{statistics.median(gradient):>19.1e}"
                text += f"{max(gradient):>10.1e}"
                if rest:
                    text += f"{max(rest[0]):>20.1e}{statistics.mean(rest[1]):>8.1f}"
                print(text, flush=True)


if __name__ == "__main__":
    run(main)
