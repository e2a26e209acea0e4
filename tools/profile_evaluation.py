"""Where the time of one evaluation goes: loss and gradient, preset `gatys`, float32, fast route.

    python tools/profile_evaluation.py PHOTO PAINTING --network vgg19.npz [--size 512]

Each function of the engine is timed as `npstyle.engine.passes` and `npstyle.engine.objective` call
it. The matrix products inside Winograd's convolution are not seen apart; `tools/benchmark.py`
prints their floor.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from common import SETTINGS, argument_parser, load_fast, load_pictures, run

from npstyle.engine import objective as objectives
from npstyle.engine import passes
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective, build_objective
from npstyle.engine.threads import use_threads

TIMED = {
    passes: [
        "conv2d",
        "conv2d_backward",
        "winograd_conv2d",
        "winograd_conv2d_backward",
        "relu",
        "relu_backward",
        "active",
        "avg_pool2d",
        "avg_pool2d_backward",
    ],
    objectives: [
        "preprocess",
        "preprocess_backward",
        "content_loss",
        "content_loss_backward",
        "mean_gram",
        "style_loss",
        "style_loss_backward",
    ],
}


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function; what each call takes is added up in `spent`."""

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **options)
        spent[name] += time.perf_counter() - start
        return result

    return call


def profile(objective: StyleObjective, pixels: Any, times: int) -> tuple[float, dict[str, float]]:
    """Mean seconds of an evaluation and of each function in it."""
    spent: dict[str, float] = defaultdict(float)
    objective(pixels)
    with ExitStack() as stack:
        for module, names in TIMED.items():
            for name in names:
                replaced = timed(getattr(module, name), name, spent)
                stack.enter_context(mock.patch.object(module, name, replaced))
        start = time.perf_counter()
        for _ in range(times):
            objective(pixels)
        whole = (time.perf_counter() - start) / times
    return whole, {name: seconds / times for name, seconds in spent.items()}


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=512, help="longest side")
    parser.add_argument("--threads", type=int, default=physical_cores())
    arguments = parser.parse_args()
    photo, painting = load_pictures(arguments, arguments.size)
    network = load_fast(arguments)
    with use_threads(arguments.threads):
        objective = build_objective(network, photo, painting, SETTINGS)
        whole, spent = profile(objective, photo, times=5)
    print(f"{photo.shape[1]} x {photo.shape[0]}: one evaluation takes {whole * 1e3:.0f} ms")
    spent["the rest"] = whole - sum(spent.values())
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:<28}{seconds * 1e3:>8.1f} ms{seconds / whole:>7.1%}")


if __name__ == "__main__":
    run(main)
