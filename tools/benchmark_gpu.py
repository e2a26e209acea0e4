"""Measure npstyle and PyTorch on an NVIDIA GPU; run by `tools/benchmark.py --device cuda`.

At each size the tool runs several rounds; in each round, every contestant runs once. It reports the
medians over the rounds, and the medians of the ratios within a round. Times are measured between
CUDA events around a call, so they include the host's time only where the GPU waits for the host.

    npstyle         float32 (Winograd), tf32 and fp16 (tensor cores); float32 also without CUDA
                    graphs
    PyTorch         eager and torch.compile, with tf32 off and on; cudnn.benchmark is on, so cuDNN
                    tries its algorithms first
    evaluation      loss and gradient at the pixels; the loss is copied to the host
    search          whole iterations of L-BFGS, both with a history of 10 and a Wolfe line search
    ceilings        a large copy in GPU memory (bytes read and written); a large matrix product

The achieved rates are nominal. They count the multiplications and additions of the plain sums, so
Winograd's convolution may exceed the ceiling, and each layer's input and output once per pass.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SETTINGS, WANTED, load_pictures
from torch_objective import Loss, evaluate, search, set_tf32, torch_objective

from npstyle.engine import cuda
from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.cuda.arrays import cupy
from npstyle.engine.cuda.tensor_cores import has_tensor_cores
from npstyle.engine.device import Device, find_device, on_device
from npstyle.engine.layers import TensorPrecision
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv
from npstyle.networks.network import Network, configure, load_network, shapes
from npstyle.run.strategy import run_bytes
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.memory import vectors_held
from npstyle.search.optimize import optimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.masks import errors, relu_masks

ITERATIONS = 20
"""Iterations of the search that are timed."""

SIDE = 8192
"""Side of the matrices whose product gives the ceiling."""

COPY_BYTES = 2 << 30
"""Size of the copy that gives the ceiling."""

PEERS = {
    "float32": ("eager", "compile"),
    "float32, no graph": ("eager",),
    "tf32": ("eager tf32", "compile tf32"),
    "fp16": ("eager tf32",),
}
"""The contestants that each of npstyle's routes is compared with."""


def events(call: Callable[[], Any]) -> float:
    """Return the seconds on the GPU between begin and end of a call."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # Event has no types
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def ceilings() -> dict[str, float]:
    """Measure bytes per second of a copy, and operations per second of products by precision."""
    source = torch.randn(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    copies = [events(partial(target.copy_, source)) for _ in range(12)][2:]
    found = {"copy": 2 * COPY_BYTES / statistics.median(copies)}
    del source, target
    a, b = (torch.randn(SIDE, SIDE, device="cuda") for _ in range(2))
    for name, tf32, dtype in [
        ("float32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("fp16", False, torch.float16),
    ]:
        set_tf32(tf32)
        left, right = a.to(dtype), b.to(dtype)
        times = [events(partial(torch.matmul, left, right)) for _ in range(8)][2:]
        found[name] = 2 * SIDE**3 / statistics.median(times)
    return found


def work(network: Network, height: int, width: int) -> tuple[float, float]:
    """Count operations of the plain sums, and bytes of all inputs and outputs, per evaluation."""
    operations = moved = 0.0
    before = height * width * 3
    depths = {network.depth(name) for name in SETTINGS.style_layers}
    for index, (layer, shape) in enumerate(shapes(network, WANTED, height, width)):
        values = int(np.prod(shape))
        if isinstance(layer, Conv):
            operations += 2 * 2 * shape[0] * shape[1] * layer.kernel.size
        if index in depths:
            operations += 2 * 2 * values * shape[2]
            moved += 2 * 4 * values
        moved += 2 * 4 * (before + values)
        before = values
    return operations, moved


def routes(network: Network) -> dict[str, BoundNetwork]:
    """Bind the network to the GPU on every route that the GPU supports."""
    fast = bind(network, WANTED, engine=cuda, route="fast")
    found = {"float32": fast, "float32, no graph": fast}
    precisions: tuple[TensorPrecision, ...] = ("tf32", "fp16") if has_tensor_cores() else ()
    for precision in precisions:
        found[precision] = bind(network, WANTED, engine=cuda, route=precision)
    return found


@dataclass
class Contestants:
    """What is timed at one size, by name.

    Attributes
    ----------
    evaluations : dict
        Each call evaluates once.
    searches : dict
        Each call runs a number of iterations and returns the number of evaluations.
    objectives : list
        npstyle's objectives.
    """

    evaluations: dict[str, Callable[[], Any]] = field(default_factory=dict)
    searches: dict[str, Callable[[int], int]] = field(default_factory=dict)
    objectives: list[StyleObjective] = field(default_factory=list)


def contestants(
    network: Network,
    placed: Mapping[str, BoundNetwork],
    photo: Array,
    painting: Array,
    compiled: bool,
) -> Contestants:
    """Prepare npstyle's routes and PyTorch's, with torch.compile if `compiled`."""
    found = Contestants()
    pixels = cuda.place(photo, np.float64)
    for name, bound in placed.items():
        objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
        objective.replays = "no graph" not in name
        found.evaluations[name] = partial(objective, pixels)
        found.searches[name] = partial(_search, objective, pixels)
        found.objectives.append(objective)
    loss, theirs = torch_objective(network, photo, painting, SETTINGS, "cuda")
    ways = [("eager", loss)]
    if compiled:
        torch._dynamo.reset()
        ways.append(("compile", torch.compile(loss)))
    for name, way in ways:
        for tf32, ending in ((False, ""), (True, " tf32")):
            found.evaluations[name + ending] = partial(_their_evaluation, tf32, way, theirs)
            if name == "eager":
                found.searches[name + ending] = partial(_their_search, tf32, way, theirs)
    return found


def _search(objective: StyleObjective, pixels: Array, iterations: int) -> int:
    return optimize(objective, pixels, iterations=iterations, engine=cuda).evaluations


def _their_evaluation(tf32: bool, loss: Loss, pixels: Any) -> Any:
    set_tf32(tf32)
    return evaluate(loss, pixels)


def _their_search(tf32: bool, loss: Loss, pixels: Any, iterations: int) -> int:
    set_tf32(tf32)
    return search(loss, pixels, iterations, CORRECTIONS)[1]


def compare(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every call in each round, after two calls to warm up."""
    for _ in range(2):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(events(call))
    return times


def ratios(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Divide PyTorch's times by npstyle's in each round; return the medians."""
    return {
        ours: {
            theirs: statistics.median(
                b / a for a, b in zip(times[ours], times[theirs], strict=True)
            )
            for theirs in peers
            if theirs in times
        }
        for ours, peers in PEERS.items()
        if ours in times
    }


def at_size(
    network: Network, arguments: argparse.Namespace, size: int, placed: Mapping[str, BoundNetwork]
) -> dict[str, Any]:
    """Measure everything at one size."""
    photo, painting = load_pictures(arguments, size)
    held = memory(placed["float32"], photo, painting)
    torch.cuda.reset_peak_memory_stats()
    timed = contestants(network, placed, photo, painting, not arguments.no_compile)
    times = compare(timed.evaluations, arguments.pairs)
    operations, moved = work(network, *photo.shape[:2])
    return {
        "shape": photo.shape[:2],
        "operations": operations,
        "bytes": moved,
        "evaluation_s": {name: statistics.median(t) for name, t in times.items()},
        "ratio": ratios(times),
        "graphs": [objective.replays for objective in timed.objectives],
        "search": {name: time_search(search) for name, search in timed.searches.items()},
        "memory": {**held, "pytorch": torch.cuda.max_memory_allocated()},
    }


def time_search(search: Callable[[int], int]) -> dict[str, float]:
    """Return the seconds per iteration of a search, and its number of evaluations."""
    search(2)
    counted: list[int] = []
    seconds = events(lambda: counted.append(search(ITERATIONS)))
    return {"iteration_s": seconds / ITERATIONS, "evaluations": counted[0]}


def memory(bound: BoundNetwork, photo: Array, painting: Array) -> dict[str, int]:
    """Measure the GPU memory of a run in float32 without the network, and predict it; in bytes."""
    pool = cupy().get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
    pixels = cuda.place(photo, np.float64)
    optimize(objective, pixels, iterations=CORRECTIONS + 2, engine=cuda)
    recorded = objective._replay.memory if objective._replay is not None else 0
    vectors = vectors_held("lbfgs", CORRECTIONS + 2, engine=cuda)
    sizes = photo.shape[:2], painting.shape[:2]
    return {
        "npstyle": pool.total_bytes() - before + recorded,
        "estimate": run_bytes(bound, SETTINGS, *sizes, 1, vectors),
    }


def accuracy(network: Network, arguments: argparse.Namespace, size: int) -> dict[str, Any]:
    """Measure the errors of every route against float64 on the CPU, with and without its masks."""
    photo, painting = load_pictures(arguments, size)
    pixels = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255)
    losses = SETTINGS.losses()
    with use_threads(physical_cores()):
        doubled = bind(configure(network, "avg", np.float64))
        exact = StyleObjective(doubled, photo, painting, losses)
        reference, right = exact(pixels), relu_masks(exact, pixels)
        found = {}
        for name, bound in routes(network).items():
            if name != "float32, no graph":
                objective = StyleObjective(bound, photo, painting, losses)
                found[name] = errors(objective, pixels, reference, right)._asdict()
    return {"shape": photo.shape[:2], **{k: dict(v) for k, v in found.items()}}


def table(found: Mapping[str, Any], top: Mapping[str, float]) -> str:
    """Format the figures of one size as text."""
    height, width = found["shape"]
    lines = [f"{width} x {height}"]
    lines.append(f"  {'':<20}{'evaluation':>12}{'TFLOP/s':>9}{'GB/s':>7}{'iteration':>12}")
    for name, seconds in found["evaluation_s"].items():
        rate, bandwidth = found["operations"] / seconds, found["bytes"] / seconds
        line = f"  {name:<20}{seconds * 1e3:>9.2f} ms{rate / 1e12:>9.1f}{bandwidth / 1e9:>7.0f}"
        if name in found["search"]:
            line += f"{found['search'][name]['iteration_s'] * 1e3:>9.2f} ms"
        lines.append(line)
    for ours, peers in found["ratio"].items():
        beside = ", ".join(f"{ratio:.2f} times {theirs}'s" for theirs, ratio in peers.items())
        lines.append(f"  {ours}: speed {beside}")
    floor = max(found["operations"] / top["float32"], found["bytes"] / top["copy"])
    lines.append(f"  lower bound of the plain sums in float32: {floor * 1e3:.2f} ms")
    return "\n".join(lines)


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for; print each figure and write it to `--out` at once."""

    def keep() -> None:
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1, default=float), encoding="utf-8")

    device: Device = find_device(arguments.device)
    network = load_network(arguments.network)
    found: dict[str, Any] = {
        "device": device.name,
        "network": network.name,
        "numpy": np.__version__,
        "cupy": cupy().__version__,
        "torch": torch.__version__,
        "sizes": {},
    }
    with on_device(device), torch.cuda.device(device.number):
        start = time.perf_counter()
        top = found["ceilings"] = ceilings()
        rates = ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in top.items())
        print(f"{device.name}: ceilings in T/s: {rates}", flush=True)
        keep()
        placed = routes(network)
        for size in arguments.sizes:
            try:
                found["sizes"][size] = at_size(network, arguments, size, placed)
                print(table(found["sizes"][size], top), flush=True)
            except (MemoryError, torch.cuda.OutOfMemoryError) as error:
                found["sizes"][size] = {"failed": str(error).partition("\n")[0]}
                print(f"{size}: out of memory ({error})", flush=True)
            cupy().get_default_memory_pool().free_all_blocks()
            torch.cuda.empty_cache()
            keep()
        if arguments.accuracy:
            found["accuracy"] = accuracy(network, arguments, arguments.accuracy)
            print(f"errors: {json.dumps(found['accuracy'], default=float)}", flush=True)
        found["seconds"] = time.perf_counter() - start
        keep()
    return found
