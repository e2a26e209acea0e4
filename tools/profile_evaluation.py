"""Split the time of one evaluation among the functions of the engine.

    python tools/profile_evaluation.py PHOTO PAINTING --network vgg19.npz [--size 512]

One evaluation is the loss and the gradient of the preset `gatys` in float32, on the fast route on
the CPU. The tool times every call of a function of the engine. It cannot separate the
matrix products inside Winograd's convolution; `tools/benchmark.py` prints their floor.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from common import SETTINGS, argument_parser, load_fast, load_pictures, run

from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array

TIMED = (
    *("preprocess", "preprocess_backward"),
    *("conv2d", "conv2d_backward", "winograd_conv2d", "winograd_conv2d_backward"),
    *("relu", "relu_mask", "relu_backward", "avg_pool2d", "avg_pool2d_backward"),
    *("content_loss", "content_loss_backward"),
    *("mean_gram", "gram_loss", "style_loss_backward"),
)
"""Functions that an evaluation calls through `bound.engine`, a module."""


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """Return the same function; the time of each call is added to `spent`."""

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **options)
        spent[name] += time.perf_counter() - start
        return result

    return call


def profile(objective: StyleObjective, pixels: Array, times: int) -> tuple[float, dict[str, float]]:
    """Return the mean seconds of an evaluation and of each function in it."""
    spent: dict[str, float] = defaultdict(float)
    engine = objective.bound.engine
    objective(pixels)
    with ExitStack() as stack:
        for name in TIMED:
            replaced = timed(getattr(engine, name), name, spent)
            stack.enter_context(mock.patch.object(engine, name, replaced))
        start = time.perf_counter()
        for _ in range(times):
            objective(pixels)
        whole = (time.perf_counter() - start) / times
    return whole, {name: seconds / times for name, seconds in spent.items()}


def main() -> None:
    """Read the options, measure, print a table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--size", type=int, default=512, help="longest side in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=physical_cores(),
        help="worker threads (default: one per physical core, here %(default)s)",
    )
    arguments = parser.parse_args()
    photo, painting = load_pictures(arguments, arguments.size)
    bound = load_fast(arguments)
    with use_threads(arguments.threads):
        objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
        whole, spent = profile(objective, photo, times=5)
    print(f"{photo.shape[1]} x {photo.shape[0]}: one evaluation takes {whole * 1e3:.0f} ms")
    spent["everything else"] = whole - sum(spent.values())
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:<28}{seconds * 1e3:>8.1f} ms{seconds / whole:>7.1%}")


if __name__ == "__main__":
    run(main)
