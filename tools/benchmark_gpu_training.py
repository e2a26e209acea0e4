"""Measure on an NVIDIA GPU what training a network that paints needs, beside PyTorch.

    python tools/benchmark_gpu_training.py [--rounds 9] [--size 256] [--out FILE.json]

    layers  the derivative of a convolution with respect to its kernel and bias, in float32, and
            its error relative to the same sums in float64; PyTorch's with tf32 off and
            cudnn.benchmark on
    pass    forward and backward through the shipped network for any painting, with the gradients of
            the kernels and without

In each round, every contestant runs once; the figures are medians over the rounds. Times are
measured between CUDA events. PyTorch comes with the extra `peers`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import run

from npstyle.engine import cuda
from npstyle.engine.device import find_device, on_device
from npstyle.engine.feedforward.passes import backward, forward
from npstyle.onepass.styles import ANY_STYLE, load_named
from npstyle.onepass.stylize import bind_style_network

try:
    import torch
    from torch.nn.grad import conv2d_weight
except ImportError:
    sys.exit("benchmark_gpu_training: PyTorch is not installed; pip install -e '.[peers]'")

from benchmark_gpu import compare
from torch_objective import set_tf32

LAYERS = [
    (256, 3, 16, 9, 1),
    (256, 16, 3, 9, 1),
    (256, 32, 64, 3, 2),
    (64, 64, 64, 3, 1),
    (64, 128, 128, 3, 1),
]
"""Side of the image, channels in and out, side of the kernel, stride."""


def layer_row(layer: tuple[int, int, int, int, int], rounds: int) -> dict[str, Any]:
    """Measure one layer."""
    side, channels, filters, size, stride = layer
    padding = size // 2
    out = (side + 2 * padding - size) // stride + 1
    rng = np.random.default_rng(0)
    image = rng.standard_normal((side, side, channels))
    g = rng.standard_normal((out, out, filters))
    way = (size, size), stride, padding
    ours, doubled = (
        partial(cuda.conv2d_backward_weights, cuda.place(g, dtype), cuda.place(image, dtype), *way)
        for dtype in (np.float32, np.float64)
    )
    X, G = (
        torch.tensor(array.transpose(2, 0, 1)[None].copy(), dtype=torch.float32, device="cuda")
        for array in (image, g)
    )

    def theirs() -> Any:
        kernel = conv2d_weight(X, (filters, channels, size, size), G, stride, padding)
        return kernel, G.sum((0, 2, 3))

    times = compare({"npstyle": ours, "pytorch": theirs}, rounds)
    exact, found = (cuda.to_host(call()[0]) for call in (doubled, ours))
    return {
        "layer": f"{size}x{size} /{stride}, {channels} to {filters} channels, {side}x{side}",
        "operations": 2 * out * out * channels * filters * size * size,
        "npstyle_s": statistics.median(times["npstyle"]),
        "pytorch_s": statistics.median(times["pytorch"]),
        "error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact)),
    }


def pass_times(size: int, rounds: int) -> dict[str, float]:
    """Return the seconds of a pass forward and backward, with and without kernels."""
    network = bind_style_network(load_named(ANY_STYLE), engine=cuda)
    norms = network.norms(np.zeros(network.network.code))
    image = cuda.place(np.random.default_rng(0).uniform(0, 1, (size, size, 3)), np.float32)

    def both(with_kernels: bool) -> None:
        picture, cache = forward(network.transformer, image, norms, with_kernels=with_kernels)
        backward(network.transformer, cache, picture, norms)

    calls: dict[str, Callable[[], Any]] = {
        "with kernels": partial(both, True),
        "without": partial(both, False),
    }
    return {name: statistics.median(times) for name, times in compare(calls, rounds).items()}


def main() -> None:
    """Print the figures of every layer and of the pass, and write them to `--out`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument(
        "--size", type=int, default=256, help="side of the picture in pixels (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    device = find_device("cuda")
    found: dict[str, Any] = {"device": device.name, "size": arguments.size, "layers": []}
    with on_device(device), torch.cuda.device(device.number):
        set_tf32(False)
        for layer in LAYERS:
            row = layer_row(layer, arguments.rounds)
            found["layers"].append(row)
            print(
                f"{row['layer']:<40}{row['npstyle_s'] * 1e3:8.3f} ms "
                f"{row['operations'] / row['npstyle_s'] / 1e12:6.1f} TFLOP/s, "
                f"{row['pytorch_s'] / row['npstyle_s']:.2f} times PyTorch's speed, "
                f"error {row['error']:.1e}",
                flush=True,
            )
        found["pass_s"] = pass_times(arguments.size, arguments.rounds)
    for name, seconds in found["pass_s"].items():
        print(f"forward and backward, {name}: {seconds * 1e3:.2f} ms")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
