"""Measure npstyle beside PyTorch on an NVIDIA card; `tools/benchmark.py --device cuda` runs it.

At each size one round after another, every contestant once in each round, in turn; what counts are
medians over the rounds, and the medians of the ratios within a round. Times are between CUDA events
around a call, so the host's share is in them where the card waits for it.

    npstyle         float32 (Winograd), tf32 and fp16 (tensor cores); float32 also without the
                    CUDA graph
    PyTorch         eager and torch.compile, with tf32 off and on; its convolutions may try out
                    cuDNN's algorithms first (cudnn.benchmark)
    evaluation      loss and gradient at the pixels, the loss brought to the host
    search          whole iterations of L-BFGS, both with a history of 10 and a Wolfe line search
    ceilings        a large copy on the card, bytes read and written; a large product of matrices

Achieved rates count the multiplications and additions of the plain sums, so Winograd's may exceed
the ceiling; and the bytes of every layer's input and output once each way, whatever is moved.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SETTINGS, WANTED, load_pictures
from torch_objective import Loss, evaluate, search, set_tf32, torch_objective

from npstyle.engine import cuda
from npstyle.engine.cuda import arrays as card
from npstyle.engine.device import Device, find_device, on_device
from npstyle.engine.machine import physical_cores
from npstyle.engine.memory import run_bytes
from npstyle.engine.objective import StyleObjective, build_objective
from npstyle.engine.threads import use_threads
from npstyle.maths.network import Conv
from npstyle.networks.network import Network, accelerate, configure, load_network, shapes, to_device, to_tensor_cores
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.memory import vectors_held
from npstyle.search.optimize import optimize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.gates import errors, gates

ITERATIONS = 20
SIDE = 8192
"""Of the matrices whose product is the ceiling."""

COPY_BYTES = 2 << 30

PEERS = {
    "float32": ("eager", "compile"),
    "float32, no graph": ("eager",),
    "tf32": ("eager tf32", "compile tf32"),
    "fp16": ("eager tf32",),
}
"""Whom each of npstyle's routes is compared with."""


def events(call: Callable[[], Any]) -> float:
    """Seconds on the card between the begin and the end of a call."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def ceilings() -> dict[str, float]:
    """Bytes per second of a copy, and operations per second of products, by precision."""
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
    """Operations of the plain sums, and bytes of every layer's ends, of one evaluation."""
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


def routes(network: Network) -> dict[str, Network]:
    """The network on the card, by route."""
    fast = to_device(accelerate(network, WANTED))
    found = {"float32": fast, "float32, no graph": fast}
    for precision in ("tf32", "fp16"):
        found[precision] = to_device(to_tensor_cores(network, WANTED, precision))
    return found


def contestants(
    network: Network, placed: Mapping[str, Network], photo: Any, painting: Any, compiled: bool
) -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[int], int]], list[StyleObjective]]:
    """By name: one evaluation; a search of so many iterations, which tells its evaluations."""
    evaluations: dict[str, Callable[[], Any]] = {}
    searches: dict[str, Callable[[int], int]] = {}
    objectives = []
    pixels = card.to_device(photo, np.float64)
    for name, own in placed.items():
        objective = build_objective(own, photo, painting, SETTINGS)
        objective.replays = "no graph" not in name
        evaluations[name] = partial(objective, pixels)
        searches[name] = partial(_search, objective, pixels)
        objectives.append(objective)
    loss, theirs = torch_objective(network, photo, painting, SETTINGS, "cuda")
    ways = [("eager", loss)]
    if compiled:
        torch._dynamo.reset()
        ways.append(("compile", torch.compile(loss)))
    for name, way in ways:
        for tf32, ending in ((False, ""), (True, " tf32")):
            evaluations[name + ending] = partial(_their_evaluation, tf32, way, theirs)
            if name == "eager":
                searches[name + ending] = partial(_their_search, tf32, way, theirs)
    return evaluations, searches, objectives


def _search(objective: StyleObjective, pixels: Any, iterations: int) -> int:
    return optimize(objective, pixels, iterations=iterations, engine=cuda).evaluations


def _their_evaluation(tf32: bool, loss: Loss, pixels: Any) -> Any:
    set_tf32(tf32)
    return evaluate(loss, pixels)


def _their_search(tf32: bool, loss: Loss, pixels: Any, iterations: int) -> int:
    set_tf32(tf32)
    return search(loss, pixels, iterations, CORRECTIONS)[1]


def compare(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, round by round, after two that do not count."""
    for _ in range(2):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(events(call))
    return times


def ratios(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """PyTorch's time over npstyle's, medians of the rounds."""
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
    network: Network, arguments: argparse.Namespace, size: int, placed: Mapping[str, Network]
) -> dict[str, Any]:
    """Everything that is measured at one size."""
    photo, painting = load_pictures(arguments, size)
    held = memory(placed["float32"], photo, painting)
    torch.cuda.reset_peak_memory_stats()
    evaluations, searches, objectives = contestants(
        network, placed, photo, painting, not arguments.no_compile
    )
    times = compare(evaluations, arguments.pairs)
    operations, moved = work(network, *photo.shape[:2])
    found: dict[str, Any] = {
        "shape": photo.shape[:2],
        "operations": operations,
        "bytes": moved,
        "evaluation_s": {name: statistics.median(t) for name, t in times.items()},
        "ratio": ratios(times),
        "graphs": [objective.replays for objective in objectives],
    }
    iterations: dict[str, dict[str, float]] = {}
    for name, run in searches.items():
        run(2)
        counted: list[int] = []

        def noted(run: Callable[[int], int] = run, counted: list[int] = counted) -> None:
            counted.append(run(ITERATIONS))

        seconds = events(noted)
        iterations[name] = {"iteration_s": seconds / ITERATIONS, "evaluations": counted[0]}
    found["search"] = iterations
    found["memory"] = {**held, "pytorch": torch.cuda.max_memory_allocated()}
    return found


def memory(network: Network, photo: Any, painting: Any) -> dict[str, int]:
    """Bytes of the card's memory that a run in float32 takes beside its network."""
    pool = card.cupy().get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    objective = build_objective(network, photo, painting, SETTINGS)
    optimize(objective, photo, iterations=CORRECTIONS + 2, engine=cuda)
    recorded = objective._replay.memory if objective._replay is not None else 0
    vectors = vectors_held("lbfgs", CORRECTIONS + 2, engine=cuda)
    sizes = photo.shape[:2], painting.shape[:2]
    return {
        "npstyle": pool.total_bytes() - before + recorded,
        "estimate": run_bytes(network, SETTINGS, *sizes, 1, vectors),
    }


def accuracy(network: Network, arguments: argparse.Namespace, size: int) -> dict[str, Any]:
    """Errors of every route against plain float64 on the host, without and with its gates."""
    photo, painting = load_pictures(arguments, size)
    pixels = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255)
    with use_threads(physical_cores()):
        exact = build_objective(configure(network, "avg", np.float64), photo, painting, SETTINGS)
        reference, right = exact(pixels), gates(exact, pixels)
        found = {}
        for name, own in routes(network).items():
            if name != "float32, no graph":
                objective = build_objective(own, photo, painting, SETTINGS)
                found[name] = errors(objective, pixels, reference, right)._asdict()
    return {"shape": photo.shape[:2], **{k: dict(v) for k, v in found.items()}}


def table(found: Mapping[str, Any], top: Mapping[str, float]) -> str:
    """The figures of one size as lines of text."""
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
    lines.append(f"  plain sums in float32 could not take less than {floor * 1e3:.2f} ms")
    return "\n".join(lines)


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what is asked for; print it, and keep it in `--out`, as it comes."""

    def keep() -> None:
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1, default=float), encoding="utf-8")

    device: Device = find_device(arguments.device)
    network = load_network(arguments.network)
    found: dict[str, Any] = {
        "device": device.name,
        "network": network.name,
        "numpy": np.__version__,
        "cupy": card.cupy().__version__,
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
                print(f"{size}: does not fit ({error})", flush=True)
            card.cupy().get_default_memory_pool().free_all_blocks()
            torch.cuda.empty_cache()
            keep()
        if arguments.accuracy:
            found["accuracy"] = accuracy(network, arguments, arguments.accuracy)
            print(f"errors: {json.dumps(found['accuracy'], default=float)}", flush=True)
        found["seconds"] = time.perf_counter() - start
        keep()
    return found
