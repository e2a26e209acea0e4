"""Measure how far float32 is from float64: the fast route, the plain sums, PyTorch.

    python tools/exactness.py PHOTO PAINTING --network vgg19.npz [--sizes 256,512]

The preset `gatys` is evaluated at five pictures: the photo, the photo with a little and with much
noise, noise alone, and the painting. The reference is the plain route in float64. Where the input
of a ReLU is almost 0, rounding decides whether the gradient passes, and one such value changes the
gradient by about 1e-4. Therefore the tool measures the error of the gradient twice, the second time
with the ReLU masks of float64. PyTorch comes with the extra `peers`.
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from common import SETTINGS, WANTED, argument_parser, load_pictures, run, sizes

from npstyle.engine.bind import bind
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.images.resize import resize
from npstyle.maths.array import Array
from npstyle.networks.network import Network, configure, load_network

try:
    import torch
except ImportError:
    sys.exit("exactness: PyTorch is not installed; pip install -e '.[peers]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.masks import errors, relu_masks
from tests.numeric import relative_error
from tests.peer import TorchObjective


def points(photo: Array, painting: Array) -> list[Array]:
    """Return the pictures at which the objective is evaluated, all of the photo's size."""
    rng = np.random.default_rng(0)
    little, much, noise = (rng.normal(0, deviation, photo.shape) for deviation in (1, 20, 30))
    pictures = [photo, photo + little, photo + much, 127.5 + noise]
    return [np.clip(picture, 0, 255) for picture in [*pictures, resize(painting, photo.shape[:2])]]


def measure(network: Network, photo: Array, painting: Array) -> dict[str, list[list[float]]]:
    """Measure the errors of each route, one row per picture.

    A row has the errors of loss and gradient. For npstyle's routes it also has the error of the
    gradient with the masks of float64, and the number of values whose mask differs.
    """
    losses = SETTINGS.losses()
    doubled = bind(configure(network, "avg", np.float64))
    exact = StyleObjective(doubled, photo, painting, losses)
    routes = {
        "fast route": StyleObjective(bind(network, WANTED, route="fast"), photo, painting, losses),
        "plain sums": StyleObjective(bind(network, WANTED), photo, painting, losses),
    }
    peer = TorchObjective(network, photo, painting, SETTINGS, torch.float32)
    found: dict[str, list[list[float]]] = {name: [] for name in [*routes, "PyTorch"]}
    for picture in points(photo, painting):
        reference, right = exact(picture), relu_masks(exact, picture)
        for name, objective in routes.items():
            found[name].append(list(errors(objective, picture, reference, right)))
        loss, gradient = peer(picture)
        error = relative_error(gradient, reference.gradient)
        found["PyTorch"].append([abs(loss / reference.loss - 1), error])
    return found


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sizes",
        type=sizes,
        default="256,512",
        help="longest sides in pixels, separated by commas (default: %(default)s)",
    )
    arguments = parser.parse_args()
    network = load_network(arguments.network)
    print("               loss, worst   gradient, median and worst   same masks, worst   differ")
    with use_threads(physical_cores()):
        for size in arguments.sizes:
            photo, painting = load_pictures(arguments, size)
            print(f"{photo.shape[1]} x {photo.shape[0]}", flush=True)
            for name, rows in measure(network, photo, painting).items():
                loss, gradient, *rest = zip(*rows, strict=True)
                text = f"  {name:<12}{max(loss):>12.0e}{statistics.median(gradient):>19.1e}"
                text += f"{max(gradient):>10.1e}"
                if rest:
                    text += f"{max(rest[0]):>20.1e}{statistics.mean(rest[1]):>9.1f}"
                print(text, flush=True)


if __name__ == "__main__":
    run(main)
