"""Time of a training step, and of painting a photo, beside PyTorch, in turns in one process.

    python tools/benchmark_training.py --network vgg19 [--crop 256] [--width 16] [--pairs 7]

Both libraries have the same network with random weights, the same loss network and the same preset
(`gatys`), in float32, on the same number of threads. A step takes one crop: its content, the pass
that paints it, the loss, all gradients, and Adam. The speed of a machine drifts, so calls are timed
in pairs, one of each library directly after the other. The result is the median of the ratios of
the pairs. The pictures are noise. PyTorch comes with the extra `peers`.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from benchmark import compare, line, processor
from common import SETTINGS, WANTED, add_pairs, run

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.device import CPU, engine_of
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.networks.johnson import transformer_layers
from npstyle.networks.network import configure, load_network
from npstyle.networks.style_network import StyleNetwork
from npstyle.onepass.stylize import bind_style_network, paint
from npstyle.onepass.train import RATE, adam_step, batch_gradient, new_training
from npstyle.run.experiments import parse_size

try:
    import torch
except ImportError:
    sys.exit("benchmark_training: PyTorch is not installed; pip install -e '.[peers]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.peer import TorchObjective
from tests.style_peer import TorchPainter, TorchTraining


def step_times(network: StyleNetwork, arguments: argparse.Namespace) -> dict[str, float]:
    """Time pairs of training steps."""
    rng, side = np.random.default_rng(0), arguments.crop
    photo, painting = rng.uniform(0, 255, (2, side, side, 3))
    judge = configure(load_network(arguments.network), SETTINGS.pooling, np.float32)
    bound = bind(judge, WANTED, engine=engine_of(CPU, fast=True), route="fast")
    objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
    theirs = TorchTraining(network, TorchObjective(judge, photo, painting, SETTINGS, torch.float32))
    training = new_training(network)

    def our_step() -> None:
        nonlocal training
        gradients, _ = batch_gradient(training.network, objective, [photo])
        training = adam_step(training, gradients, RATE)

    return compare(our_step, lambda: theirs.step([photo], RATE), arguments.pairs)


def paint_times(network: StyleNetwork, photo: Array, pairs: int) -> dict[str, float]:
    """Time pairs of painted photos."""
    bound = bind_style_network(network, engine=engine_of(CPU, fast=True))
    code, theirs = np.zeros(0), TorchPainter(network, torch.float32)

    def paint_theirs() -> None:
        with torch.no_grad():
            theirs.paint(photo).numpy()

    return compare(lambda: paint(bound, photo, code), paint_theirs, pairs)


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network", default="vgg19", help="name or file of the loss network (default: %(default)s)"
    )
    parser.add_argument(
        "--crop", type=int, default=256, help="side of the crop in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--width", type=int, default=16, help="channels at full size (default: %(default)s)"
    )
    parser.add_argument(
        "--size", default="512x384", help="size of the painted photo (default: %(default)s)"
    )
    add_pairs(parser)
    return parser.parse_args()


def main() -> None:
    """Read the options and measure."""
    arguments = options()
    size = parse_size(arguments.size)
    torch.set_num_threads(arguments.threads)
    network = untrained(arguments.width)
    loops = "NumPy alone" if engine_of(CPU, fast=True) is cpu else "compiled loops"
    print(
        f"{processor()}, {arguments.threads} threads of {os.cpu_count()}, "
        f"NumPy {np.__version__}, PyTorch {torch.__version__}, {loops}\n"
        f"width {arguments.width}, crop {arguments.crop}, loss network {arguments.network}, "
        f"medians of {arguments.pairs} pairs\n"
        "                          npstyle     PyTorch   PyTorch/npstyle (range)",
        flush=True,
    )
    with use_threads(arguments.threads):
        print(line("training step", step_times(network, arguments)), flush=True)
        photo = np.random.default_rng(0).uniform(0, 255, (*size, 3))
        print(line(f"painting {arguments.size}", paint_times(network, photo, arguments.pairs)))


def untrained(width: int) -> StyleNetwork:
    """Return a network with random weights."""
    layers = transformer_layers(width, 0)
    way = "RGB", (127.5,) * 3, (1 / 127.5,) * 3, 255.0, "random", "", ""
    return StyleNetwork("untrained", layers, (), 0, *way)


if __name__ == "__main__":
    run(main)
