"""Time of painting in one pass beside onnxruntime, in turns in one process.

For each network and size, onnxruntime and npstyle paint the same photo in turns, on as many threads
as there are cores, with a pause before each turn: onnxruntime's threads keep running for a while
after their work. The least and the median time are printed.

    python tools/benchmark_stylize.py ../shared/weights/onnx --sizes 512x384 1024x768
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.onepass.styles import ANY_STYLE, MANY_STYLES, load_named
from npstyle.onepass.stylize import bind_style_network, paint
from npstyle.run.experiments import parse_size

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests import onnx_peer

FILES = {MANY_STYLES: "multistyle26.onnx", ANY_STYLE: "arbitrary_transform.onnx"}
PAUSE = 0.3
"""Seconds before each turn."""


def main() -> None:
    """Print a line for each network and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of the published ONNX files")
    parser.add_argument("--sizes", nargs="+", default=["512x384", "1024x768"])
    parser.add_argument("--turns", type=int, default=8)
    arguments = parser.parse_args()
    threads = physical_cores()
    print(f"{threads} threads; milliseconds, least and median of {arguments.turns}")
    with use_threads(threads):
        for name in FILES:
            for size in arguments.sizes:
                compare(arguments.folder, name, parse_size(size), arguments.turns, threads)


def compare(folder: Path, name: str, size: tuple[int, int], turns: int, threads: int) -> None:
    """Print the times of one network at one (height, width)."""
    rng = np.random.default_rng(0)
    bound = bind_style_network(load_named(name))
    photo = rng.uniform(0, 255, (*size, 3))
    code = rng.dirichlet(np.ones(bound.network.code)).astype(np.float32)
    image = (photo / 255).astype(np.float32)[None]
    model = onnx_peer.published(folder / FILES[name], size if name == ANY_STYLE else None)
    given: tuple[Any, ...] = (image, code[None, None, None])
    if name != ANY_STYLE:
        given = (np.ascontiguousarray(image.transpose(0, 3, 1, 2)), code)
    as_published = onnx_peer.session(model, threads)
    runs: dict[str, Callable[[], Any]] = {
        "onnxruntime, as published": lambda: onnx_peer.run(as_published, *given)
    }
    if name == ANY_STYLE:
        in_float = onnx_peer.session(onnx_peer.without_rounding(model), threads)
        runs["onnxruntime, float32"] = lambda: onnx_peer.run(in_float, *given)
    runs["npstyle"] = lambda: paint(bound, photo, code)
    times: dict[str, list[float]] = {of: [] for of in runs}
    for _ in range(turns):
        for of, call in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            call()
            times[of].append(1e3 * (time.perf_counter() - start))
    shown = ", ".join(f"{of} {min(t):.0f} {np.median(t):.0f}" for of, t in times.items())
    print(f"{name} {size[1]}x{size[0]}: {shown}", flush=True)


if __name__ == "__main__":
    main()
