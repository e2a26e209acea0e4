"""Measure npstyle and PyTorch in turn, on the same number of threads.

    python tools/benchmark.py PHOTO PAINTING --network vgg19.npz [--sizes 256,512,1024] [--pairs 7]
    python tools/benchmark.py PHOTO PAINTING --network vgg19.npz --device cuda

Both run the preset `gatys` in float32. The speed of a machine drifts, so calls are timed in pairs,
one of each library directly after the other. The result is the median of the ratios of the pairs.

    evaluation  loss and gradient at the pixels, with compiled loops if Numba is installed, and
                without; its forward half alone; the same on one thread; PyTorch under bfloat16
                autocast, which is less exact, if the processor has instructions for it
    layers      each convolution, and its derivative with respect to the image (--layers)
    search      time that L-BFGS-B itself takes per iteration
    memory      peak resident memory of a process that runs 12 iterations (--whole)
    job         50 iterations at 256 pixels, from the start of the process to the written file
                (--whole)

The floor of an evaluation is the time that its matrix products alone (Winograd's and the Gram
matrices') would take at the rate of a large sgemm. PyTorch comes with the extra `peers`. For the
measurements on a GPU, see `tools/benchmark_gpu.py`.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from common import SETTINGS, WANTED, add_pairs, argument_parser, load_pictures, run, sizes
from whole_processes import Say, whole_processes

from npstyle.engine import cpu
from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.device import CPU, engine_of
from npstyle.engine.layers import FastConv
from npstyle.engine.losses import Evaluation
from npstyle.engine.objective import StyleObjective
from npstyle.engine.sizes import WINDOW, tile_count
from npstyle.engine.threads import parallel_for, use_threads
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv
from npstyle.networks.network import Network, load_network, shapes
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

Call = Callable[[], Any]


@dataclass(frozen=True)
class Networks:
    """One network: as loaded, with its kernels, and bound to the CPU on the fast route.

    `fast` has compiled loops if Numba is installed, and `numpy` is then the same without them.
    """

    network: Network
    fast: BoundNetwork
    numpy: BoundNetwork | None


def seconds(function: Call) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(ours: Call, theirs: Call, pairs: int) -> dict[str, float]:
    """Time pairs of calls, after one of each to warm up."""
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
    """Measure float32 multiplications and additions per second of large products, one a thread."""
    square = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)

    def multiply(queue: Iterator[int]) -> None:
        for _ in queue:
            square @ square

    def products() -> None:
        parallel_for(multiply, range(threads))

    return threads * 2 * 2048**3 / min(seconds(products) for _ in range(5))


def multiplications(bound: BoundNetwork, height: int, width: int) -> float:
    """Count the multiplications of the matrix products of one evaluation, forward and backward."""
    total = 0.0
    table = shapes(bound.network, WANTED, height, width)
    depths = {bound.network.depth(name) for name in SETTINGS.style_layers}
    for index, (_, (rows, columns, channels)) in enumerate(table):
        layer = bound.layers[index]
        if isinstance(layer, FastConv):
            total += 2 * WINDOW**2 * math.prod(tile_count(rows, columns)) * layer.filters[0].size
        elif isinstance(layer, Conv):
            total += 2 * rows * columns * layer.kernel.size
        if index in depths:  # the Gram matrix is symmetric: half of it forward, all of it backward
            total += 1.5 * rows * columns * channels**2
    return total


def evaluations(
    both: Networks, photo: Array, painting: Array, pairs: int, rate: float
) -> dict[str, Any]:
    """Time the objective with and without its gradient."""
    picture = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255)
    theirs = TorchObjective(both.network, photo, painting, SETTINGS, torch.float32)
    ours = StyleObjective(both.fast, photo, painting, SETTINGS.losses())

    def their_loss() -> None:
        with torch.no_grad():
            theirs.loss(theirs.tensor(picture))

    def on_one_thread() -> None:
        with use_threads(1):
            ours(picture)

    def in_bfloat16() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            theirs(picture)

    on_one_thread()
    scaling = [seconds(on_one_thread) / seconds(lambda: ours(picture)) for _ in range(pairs)]
    found: dict[str, Any] = {
        "scaling": statistics.median(scaling),
        "evaluation": compare(lambda: ours(picture), lambda: theirs(picture), pairs),
        "forward": compare(lambda: ours.value(picture), their_loss, pairs),
        "floor_s": 2 * multiplications(both.fast, *photo.shape[:2]) / rate,
    }
    if both.numpy is not None:
        without = StyleObjective(both.numpy, photo, painting, SETTINGS.losses())
        found["numpy"] = compare(lambda: without(picture), lambda: theirs(picture), pairs)
    if has_bfloat16():
        found["bfloat16"] = compare(lambda: ours(picture), in_bfloat16, pairs)
    return found


def layers(both: Networks, size: tuple[int, int], pairs: int) -> dict[str, Any]:
    """Time each convolution with its ReLU, and its derivative with respect to the image."""
    rng = np.random.default_rng(0)
    result = {}
    before = (*size, 3)
    for index, (layer, shape) in enumerate(shapes(both.network, WANTED, *size)):
        if isinstance(layer, Conv):
            x = rng.standard_normal(before, dtype=np.float32)
            upstream = rng.standard_normal(shape, dtype=np.float32)
            prepared = both.fast.layers[index]
            assert isinstance(prepared, Conv | FastConv)
            ours = _ours(both.fast.engine, prepared, x, upstream)
            theirs = _theirs(layer, x, upstream)
            result[layer.name] = {
                "forward": compare(ours[0], theirs[0], pairs),
                "backward": compare(ours[1], theirs[1], pairs),
            }
        before = shape
    return result


def _theirs(layer: Conv, x: Array, upstream: Array) -> tuple[Call, Call]:
    kernel = torch.tensor(layer.kernel.transpose(3, 2, 0, 1).copy())
    bias = torch.tensor(layer.bias)
    image, gradient = (torch.tensor(a.transpose(2, 0, 1)[None].copy()) for a in (x, upstream))
    return (
        lambda: conv2d_torch(image, kernel, bias, padding=1).relu_(),
        lambda: conv2d_input(image.shape, kernel, gradient * (gradient > 0), padding=1),
    )


def _ours(
    engine: ModuleType, layer: Conv | FastConv, x: Array, upstream: Array
) -> tuple[Call, Call]:
    if isinstance(layer, FastConv):
        return (
            lambda: engine.winograd_conv2d(x, layer.filters, layer.bias, rectify=True),
            lambda: engine.winograd_conv2d_backward(upstream, layer.filters, upstream),
        )
    mask = upstream > 0
    return (
        lambda: engine.conv2d(x, layer.kernel, layer.bias, 1, 1, rectify=True),
        lambda: engine.conv2d_backward(upstream.copy(), layer.kernel, x.shape, 1, 1, mask),
    )


def search_seconds(shape: tuple[int, ...], iterations: int = 30) -> float:
    """Measure the time per iteration that the optimiser adds to a cheap objective, a parabola."""
    rng = np.random.default_rng(0)
    slope, lowest = rng.uniform(0.1, 10, shape), rng.uniform(-50, 300, shape)
    inside = 0.0

    def objective(x: Array) -> Evaluation:
        nonlocal inside
        start = time.perf_counter()
        gradient = slope * (x - lowest)
        loss = float(np.vdot(gradient, x - lowest) / 2)
        inside += time.perf_counter() - start
        return Evaluation(loss, gradient, {})

    start, engine = np.full(shape, 100.0), engine_of(CPU, fast=True)
    whole = seconds(lambda: optimize(objective, start, iterations=iterations, engine=engine))
    return (whole - inside) / iterations


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 (AMX or AVX512-BF16)."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def processor() -> str:
    """Return the name of the processor."""
    try:
        found = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    except OSError:
        found = ""
    return found.partition("\n")[0].strip("\t :") or platform.processor() or platform.machine()


def line(name: str, found: dict[str, float]) -> str:
    """Format one row of the table."""
    return (
        f"  {name:<20}{found['npstyle_s'] * 1e3:>9.1f} ms{found['pytorch_s'] * 1e3:>9.1f} ms"
        f"{found['ratio']:>7.2f}   ({found['lowest']:.2f} .. {found['highest']:.2f})"
    )


def at_size(
    both: Networks, arguments: argparse.Namespace, size: int, rate: float, say: Say
) -> dict[str, Any]:
    """Measure everything at one size, and print it."""
    photo, painting = load_pictures(arguments, size)
    say(f"{photo.shape[1]} x {photo.shape[0]}")
    at = evaluations(both, photo, painting, arguments.pairs, rate)
    say(line("evaluation", at["evaluation"]))
    if "numpy" in at:
        say(line("without Numba", at["numpy"]))
    if "bfloat16" in at:
        say(line("PyTorch in bfloat16", at["bfloat16"]))
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
        at["layers"] = layers(both, photo.shape[:2], arguments.pairs)
        for name, found in at["layers"].items():
            say(line(name, found["forward"]))
            say(line(f"{name} backward", found["backward"]))
    return at


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for, and print each figure as soon as it is known."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    network = load_network(arguments.network)
    engine = engine_of(CPU, fast=True)
    numpy = None if engine is cpu else bind(network, WANTED, route="fast")
    both = Networks(network, bind(network, WANTED, engine=engine, route="fast"), numpy)
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
            f"sgemm {rate / 1e9:.0f} GFLOP/s, NumPy {np.__version__}, PyTorch {torch.__version__}, "
            f"{'NumPy alone' if numpy is None else 'compiled loops'}\n"
            "                          npstyle     PyTorch   PyTorch/npstyle (range)"
        )
        for size in arguments.sizes:
            found["sizes"][size] = at_size(both, arguments, size, rate, say)
    del network, both
    if arguments.whole:
        whole_processes(arguments, found, say)
    return found


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--device", default="cpu", help="cpu, or cuda or cuda:N for a GPU (default: %(default)s)"
    )
    parser.add_argument(
        "--sizes",
        type=sizes,
        help="longest sides in pixels, separated by commas (default: 256,512,1024; "
        "with --device cuda also 2048)",
    )
    add_pairs(parser)
    parser.add_argument("--layers", action="store_true", help="time each convolution as well")
    parser.add_argument(
        "--whole", action="store_true", help="measure memory and time of whole processes as well"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    gpu = parser.add_argument_group("with --device cuda")
    gpu.add_argument("--out", type=Path, help="file to which the figures are written as JSON")
    gpu.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    gpu.add_argument(
        "--accuracy", type=int, metavar="SIZE", help="measure errors against float64 at this size"
    )
    return parser.parse_args()


def main() -> None:
    """Read the options and measure."""
    arguments = options()
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
