"""Measure memory and time of whole processes, npstyle's and PyTorch's; part of `benchmark.py`."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOB_SIZE, JOB_ITERATIONS = 256, 50
MEMORY_ITERATIONS = 12

Say = Callable[[str], None]


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


def whole_processes(arguments: argparse.Namespace, found: dict[str, Any], say: Say) -> None:
    """Measure memory and time of whole processes, print them and add them to `found`."""
    for size in arguments.sizes:
        ours, theirs = (child(arguments, name, size, False) for name in ("npstyle", "pytorch"))
        found["sizes"][size]["memory"] = {"npstyle": ours, "pytorch": theirs}
        say(
            f"memory at {size}: npstyle {ours['peak_bytes'] / 1e6:.0f} MB (predicted "
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
