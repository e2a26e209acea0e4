"""Measure npstyle beside PyTorch, side by side on the same threads.

    python tools/benchmark.py PHOTO PAINTING --network vgg19.npz [--sizes 256,512,1024] [--pairs 7]
    python tools/benchmark.py PHOTO PAINTING --network vgg19.npz --device cuda

Both run the preset `gatys` in float32. A pair is one call of each, one right after the other, since
a machine's speed drifts; what counts is the median of the pairs' ratios. Measured are

    evaluation  loss and gradient at the pixels, its forward half alone, and on one thread
    layers      each convolution and its derivative to the image
    search      what L-BFGS-B itself takes per iteration
    memory      the largest resident memory of a whole process, twelve iterations long
    job         50 iterations at 256 pixels, from the start of the process to the written file

and the floor of an evaluation: the multiplications of its matrix products, Winograd's and the Gram
matrices', at the rate of a large sgemm. PyTorch comes with the extra `peers`. What is measured on
an NVIDIA card is written in `tools/benchmark_gpu.py`.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import SETTINGS, WANTED, argument_parser, load_pictures, run, sizes

from npstyle.engine.cpu.conv import conv2d, conv2d_backward
from npstyle.engine.cpu.winograd import WINDOW, winograd_conv2d, winograd_conv2d_backward
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import Evaluation, build_objective
from npstyle.engine.sizes import tile_count
from npstyle.engine.threads import parallel_for, use_threads
from npstyle.maths.network import Conv
from npstyle.networks.network import FastConv, Network, accelerate, load_network, shapes
from npstyle.search.optimize import optimize

try:
    import torch
    from torch.nn.functional import conv2d as conv2d_torch
    from torch.nn.grad import conv2d_input
except ImportError:
    sys.exit("benchmark: PyTorch is not installed; pip install -e '.[peers]'")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.peer import TorchObjective

CPU_SIZES = [256, 512, 1024]
GPU_SIZES = [256, 512, 1024, 2048]
JOB_SIZE, JOB_ITERATIONS = 256, 50
MEMORY_ITERATIONS = 12

Call = Callable[[], Any]


def seconds(function: Call) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(ours: Call, theirs: Call, pairs: int) -> dict[str, float]:
    """Time pairs of calls, after one of each that does not count."""
    ours()
    theirs()
    times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratios = [b / a for a, b in times]
    return {
        "npstyle_s": statistics.median(a for a, _ in times),
        "pytorch_s": statistics.median(b for _, b in times),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def sgemm_rate(threads: int) -> float:
    """float32 multiplications and additions per second of large products, one per thread."""
    square = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)

    def multiply(queue: Iterator[int]) -> None:
        for _ in queue:
            square @ square

    def products() -> None:
        parallel_for(multiply, range(threads))

    return threads * 2 * 2048**3 / min(seconds(products) for _ in range(5))


def multiplications(network: Network, height: int, width: int) -> float:
    """Of the matrix products of one evaluation, forward and backward."""
    total = 0.0
    table = shapes(network, WANTED, height, width)
    depths = {network.depth(name) for name in SETTINGS.style_layers}
    for index, (layer, (rows, columns, channels)) in enumerate(table):
        if isinstance(layer, FastConv):
            total += 2 * WINDOW**2 * math.prod(tile_count(rows, columns)) * layer.filters[0].size
        elif isinstance(layer, Conv):
            total += 2 * rows * columns * layer.kernel.size
        if index in depths:  # the Gram matrix is symmetric: half of it forward, all backward
            total += 1.5 * rows * columns * channels**2
    return total


def evaluations(
    network: Network, fast: Network, photo: Any, painting: Any, pairs: int, rate: float
) -> dict[str, Any]:
    """Time the objective with and without its gradient."""
    picture = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255)
    theirs = TorchObjective(network, photo, painting, SETTINGS, torch.float32)
    ours = build_objective(fast, photo, painting, SETTINGS)

    def their_loss() -> None:
        with torch.no_grad():
            theirs.loss(theirs.tensor(picture))

    def on_one_thread() -> None:
        with use_threads(1):
            ours(picture)

    on_one_thread()
    scaling = [seconds(on_one_thread) / seconds(lambda: ours(picture)) for _ in range(pairs)]
    return {
        "scaling": statistics.median(scaling),
        "evaluation": compare(lambda: ours(picture), lambda: theirs(picture), pairs),
        "forward": compare(lambda: ours.value(picture), their_loss, pairs),
        "floor_s": 2 * multiplications(fast, *photo.shape[:2]) / rate,
    }


def layers(network: Network, fast: Network, size: tuple[int, int], pairs: int) -> dict[str, Any]:
    """Time each convolution with its ReLU, and its derivative to the image."""
    rng = np.random.default_rng(0)
    table = shapes(fast, WANTED, *size)
    weights = {layer.name: layer for layer in network.layers if isinstance(layer, Conv)}
    result = {}
    before = (*size, 3)
    for layer, shape in table:
        if isinstance(layer, Conv | FastConv):
            x = rng.standard_normal(before, dtype=np.float32)
            g = rng.standard_normal(shape, dtype=np.float32)
            plain = weights[layer.name]
            ours, theirs = _ours(layer, x, g), _theirs(plain, x, g)
            result[layer.name] = {
                "forward": compare(ours[0], theirs[0], pairs),
                "backward": compare(ours[1], theirs[1], pairs),
            }
        before = shape
    return result


def _theirs(layer: Conv, x: Any, g: Any) -> tuple[Call, Call]:
    weight = torch.tensor(layer.kernel.transpose(3, 2, 0, 1).copy())
    bias = torch.tensor(layer.bias)
    image, gradient = (torch.tensor(a.transpose(2, 0, 1)[None].copy()) for a in (x, g))
    return (
        lambda: conv2d_torch(image, weight, bias, padding=1).relu_(),
        lambda: conv2d_input(  # type: ignore[no-untyped-call]
            image.shape, weight, gradient * (gradient > 0), padding=1
        ),
    )


def _ours(layer: Conv | FastConv, x: Any, g: Any) -> tuple[Call, Call]:
    if isinstance(layer, FastConv):
        return (
            lambda: winograd_conv2d(x, layer.filters, layer.bias, rectify=True),
            lambda: winograd_conv2d_backward(g, layer.filters, g),
        )
    return (
        lambda: np.maximum(conv2d(x, layer.kernel, layer.bias, 1, 1), 0),
        lambda: conv2d_backward(g * (g > 0), layer.kernel, x.shape, 1, 1),
    )


def search_seconds(shape: tuple[int, ...], iterations: int = 30) -> float:
    """What the optimiser takes per iteration beside the objective, a sum of parabolas."""
    rng = np.random.default_rng(0)
    slope, lowest = rng.uniform(0.1, 10, shape), rng.uniform(-50, 300, shape)
    inside = 0.0

    def objective(x: Any) -> Evaluation:
        nonlocal inside
        start = time.perf_counter()
        gradient = slope * (x - lowest)
        loss = float(np.vdot(gradient, x - lowest) / 2)
        inside += time.perf_counter() - start
        return Evaluation(loss, gradient, {})

    whole = seconds(lambda: optimize(objective, np.full(shape, 100.0), iterations=iterations))
    return (whole - inside) / iterations


def child(arguments: argparse.Namespace, library: str, size: int, job: bool) -> dict[str, float]:
    """Run one whole transfer in a process of its own; return its wall time and peak memory."""
    iterations = JOB_ITERATIONS if job else MEMORY_ITERATIONS
    command: list[object] = [sys.executable, Path(__file__).with_name("whole_job.py"), library]
    command += [arguments.photo, arguments.painting, arguments.network]
    command += [size, iterations, arguments.threads]
    start = time.perf_counter()
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(run.stdout)
    return result | {"wall_s": time.perf_counter() - start}


def processor() -> str:
    """What the machine calls its processor."""
    try:
        found = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    except OSError:
        found = ""
    return found.partition("\n")[0].strip("\t :") or platform.processor() or platform.machine()


def line(name: str, found: dict[str, float]) -> str:
    """One row of a table."""
    return (
        f"  {name:<20}{found['npstyle_s'] * 1e3:>9.1f} ms{found['pytorch_s'] * 1e3:>9.1f} ms"
        f"{found['ratio']:>7.2f}   ({found['lowest']:.2f} .. {found['highest']:.2f})"
    )


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that is asked for, and print it as it comes."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    network = load_network(arguments.network)
    fast = accelerate(network, WANTED)
    with use_threads(arguments.threads):
        rate = sgemm_rate(arguments.threads)
        found: dict[str, Any] = {
            "machine": processor(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "threads": arguments.threads,
            "sgemm_flops": rate,
            "sizes": {},
        }
        say(
            f"{processor()}, {arguments.threads} threads of {os.cpu_count()}, "
            f"sgemm {rate / 1e9:.0f} GFLOP/s, NumPy {np.__version__}, PyTorch {torch.__version__}\n"
            "                          npstyle     PyTorch   PyTorch/npstyle (range)"
        )
        for size in arguments.sizes:
            photo, painting = load_pictures(arguments, size)
            say(f"{photo.shape[1]} x {photo.shape[0]}")
            at = evaluations(network, fast, photo, painting, arguments.pairs, rate)
            found["sizes"][size] = at
            say(line("evaluation", at["evaluation"]))
            say(line("forward", at["forward"]))
            evaluation = at["evaluation"]["npstyle_s"]
            say(
                f"  {'floor':<20}{at['floor_s'] * 1e3:>9.1f} ms   the evaluation takes "
                f"{evaluation / at['floor_s']:.1f} times as long"
            )
            say(f"  {'one thread':<20}takes {at['scaling']:.2f} times as long")
            at["search_s"] = search_seconds(photo.shape)
            say(
                f"  {'search':<20}{at['search_s'] * 1e3:>9.1f} ms   per iteration, "
                f"{at['search_s'] / evaluation:.0%} of an evaluation"
            )
            if arguments.layers:
                at["layers"] = layers(network, fast, photo.shape[:2], arguments.pairs)
                for name, both in at["layers"].items():
                    say(line(name, both["forward"]))
                    say(line(f"{name} backward", both["backward"]))
    del network, fast
    if arguments.whole:
        for size in arguments.sizes:
            ours, theirs = (child(arguments, name, size, False) for name in ("npstyle", "pytorch"))
            found["sizes"][size]["memory"] = {"npstyle": ours, "pytorch": theirs}
            say(
                f"memory at {size}: npstyle {ours['peak_bytes'] / 1e6:.0f} MB (estimated "
                f"{ours['estimate_bytes'] / 1e6:.0f}), PyTorch {theirs['peak_bytes'] / 1e6:.0f} "
                f"MB, npstyle/PyTorch {ours['peak_bytes'] / theirs['peak_bytes']:.2f}"
            )
        pairs = [
            [child(arguments, name, JOB_SIZE, True)["wall_s"] for name in ("npstyle", "pytorch")]
            for _ in range(3)
        ]
        ours_s, theirs_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        found["job"] = {"npstyle_s": ours_s, "pytorch_s": theirs_s}
        say(
            f"whole job, {JOB_ITERATIONS} iterations at {JOB_SIZE}: npstyle {ours_s:.1f} s, "
            f"PyTorch {theirs_s:.1f} s, PyTorch/npstyle "
            f"{statistics.median(b / a for a, b in pairs):.2f}"
        )
    return found


def main() -> None:
    """Read the options and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cuda or cuda:N: see benchmark_gpu.py")
    parser.add_argument("--sizes", type=sizes, help="longest sides")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of calls for each figure")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--layers", action="store_true", help="each convolution, too")
    parser.add_argument("--whole", action="store_true", help="memory and job of whole processes")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    gpu = parser.add_argument_group("with --device cuda")
    gpu.add_argument("--out", type=Path, help="keep the figures as JSON in this file, as they come")
    gpu.add_argument("--no-compile", action="store_true", help="without torch.compile")
    gpu.add_argument(
        "--accuracy", type=int, help="errors against float64 on the host, at this size"
    )
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        from benchmark_gpu import report as report_gpu

        arguments.sizes = arguments.sizes or GPU_SIZES
        found = report_gpu(arguments)
        if arguments.json:
            print(json.dumps(found, indent=1, default=float))
        return
    arguments.sizes = arguments.sizes or CPU_SIZES
    torch.set_num_threads(arguments.threads)
    found = report(arguments)
    if arguments.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    run(main)
