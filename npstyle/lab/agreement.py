"""Agreement: every public function of the engine against its page of the textbook.

`TABLE` has one entry per function. Each entry calls the engine's function and the textbook's on the
same random inputs. The inputs are rounded to the engine's precision first and the textbook computes
in float64, so the error is the rounding of the engine alone. It is measured as |found - expected| /
|expected| in the 2-norm.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npstyle import maths
from npstyle.engine.cuda.tensor_cores import has_tensor_cores
from npstyle.lab import feedforward_pairs as painting
from npstyle.lab import pairs
from npstyle.lab.methods import Outcome
from npstyle.lab.pairs import Bench, Pairs

TOLERANCES = {"float64": 1e-13, "float32": 1e-5}
"""Largest relative error by precision; sums of float32 values lose a digit or two."""

TENSOR_TOLERANCE = 2e-3
"""The same for tensor cores, which round the operands to 11 bits."""


@dataclass(frozen=True)
class Entry:
    """How to compare one function.

    Attributes
    ----------
    page : callable or None
        The function of the textbook; None if the textbook has none. The formula is then in
        `npstyle.lab.pairs`.
    pairs : callable
        From a Bench to the pairs to compare.
    dtype : float dtype, optional
        The function's only precision; any by default.
    gpu_dtype : float dtype, optional
        The function's only precision on a GPU.
    tolerance : float, optional
        Largest relative error; that of the precision by default.
    """

    page: Callable[..., Any] | None
    pairs: Callable[[Bench], Pairs]
    dtype: type[np.floating[Any]] | None = None
    gpu_dtype: type[np.floating[Any]] | None = None
    tolerance: float | None = None

    @property
    def title(self) -> str:
        """The textbook function's full name."""
        return f"{self.page.__module__}.{self.page.__name__}" if self.page else "its formula"


def agreement_outcomes(
    engine: ModuleType, dtype: DTypeLike = np.float64, seed: int = 0
) -> Iterator[tuple[str, Outcome]]:
    """Compare every function of an engine with its page of the textbook.

    The convolutions on tensor cores are left out where the GPU cannot run them.

    Parameters
    ----------
    engine : module
        `npstyle.engine.cpu` or `npstyle.engine.cuda`.
    dtype : float32 or float64
        Precision of the engine, except for functions that have only one.
    seed : int
        Of the inputs.

    Yields
    ------
    name : str
        The engine's function.
    outcome : Outcome
    """
    for name, entry in TABLE.items():
        if not hasattr(engine, name):
            continue
        if entry.tolerance != TENSOR_TOLERANCE or has_tensor_cores():
            yield name, agreement(name, engine, dtype, seed)


def agreement(name: str, engine: ModuleType, dtype: DTypeLike, seed: int = 0) -> Outcome:
    """Compare one function; parameters as in `agreement_outcomes`."""
    start = time.perf_counter()
    entry = TABLE[name]
    on_gpu = engine.__name__.endswith("cuda")
    precision = np.dtype(entry.dtype or (entry.gpu_dtype if on_gpu else None) or dtype)
    bench = Bench(engine, precision, np.random.default_rng(seed))
    errors = [relative_error(found, expected) for found, expected in entry.pairs(bench)]
    error = float(np.max(errors))
    tolerance = entry.tolerance or TOLERANCES[precision.name]
    passed = error <= tolerance
    note = f"agrees with {entry.title} to {error:.0e}" if error else f"equals {entry.title}"
    if not passed:
        note = f"differs from {entry.title} by {error:.0e}"
    seconds = time.perf_counter() - start
    return Outcome("textbook", 0, passed, error, tolerance, len(errors), note=note, seconds=seconds)


def relative_error(found: Any, expected: Any) -> float:
    """|found - expected| / |expected| in the 2-norm; infinity if the shapes differ."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return np.inf
    size = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / (size or 1.0)


F64 = np.float64
F32 = np.float32

TABLE = {
    "place": Entry(None, pairs.transport_pairs),
    "to_host": Entry(None, pairs.transport_pairs),
    "zeros_like": Entry(None, pairs.transport_pairs),
    "numbers": Entry(maths.total_variation, pairs.numbers_pairs),
    "preprocess": Entry(maths.preprocess, pairs.preprocess_pairs),
    "preprocess_backward": Entry(maths.preprocess_backward, pairs.preprocess_backward_pairs),
    "replicate_pad": Entry(maths.replicate_pad, pairs.replicate_pad_pairs),
    "replicate_pad_backward": Entry(
        maths.replicate_pad_backward, pairs.replicate_pad_backward_pairs
    ),
    "conv2d": Entry(maths.conv2d, pairs.conv2d_pairs),
    "conv2d_backward": Entry(maths.conv2d_backward, pairs.conv2d_backward_pairs),
    "conv2d_backward_weights": Entry(
        maths.conv2d_backward_weights, pairs.conv2d_backward_weights_pairs
    ),
    "transform_filters": Entry(maths.conv2d, pairs.winograd_pairs, gpu_dtype=F32),
    "winograd_conv2d": Entry(maths.conv2d, pairs.winograd_pairs, gpu_dtype=F32),
    "winograd_conv2d_backward": Entry(
        maths.conv2d_backward, pairs.winograd_backward_pairs, gpu_dtype=F32
    ),
    "pack_filters": Entry(maths.conv2d, pairs.tensor_conv2d_pairs, F32, None, TENSOR_TOLERANCE),
    "tensor_conv2d": Entry(maths.conv2d, pairs.tensor_conv2d_pairs, F32, None, TENSOR_TOLERANCE),
    "tensor_conv2d_backward": Entry(
        maths.conv2d_backward, pairs.tensor_conv2d_backward_pairs, F32, None, TENSOR_TOLERANCE
    ),
    "relu": Entry(maths.relu, pairs.relu_pairs),
    "relu_mask": Entry(maths.relu_backward, pairs.relu_mask_pairs),
    "relu_backward": Entry(maths.relu_backward, pairs.relu_backward_pairs),
    "avg_pool2d": Entry(maths.avg_pool2d, pairs.pool_pairs("avg_pool2d")),
    "avg_pool2d_backward": Entry(maths.avg_pool2d_backward, pairs.avg_pool2d_backward_pairs),
    "max_pool2d": Entry(maths.max_pool2d, pairs.pool_pairs("max_pool2d")),
    "max_pool2d_backward": Entry(
        maths.max_pool2d_backward, pairs.pool_backward_pairs("max_pool2d")
    ),
    "l2_pool2d": Entry(maths.l2_pool2d, pairs.pool_pairs("l2_pool2d")),
    "l2_pool2d_backward": Entry(maths.l2_pool2d_backward, pairs.pool_backward_pairs("l2_pool2d")),
    "content_loss": Entry(maths.content_loss, pairs.content_loss_pairs),
    "content_loss_backward": Entry(maths.content_loss_backward, pairs.content_loss_backward_pairs),
    "gram": Entry(maths.gram, pairs.gram_pairs),
    "gram_backward": Entry(maths.gram_backward, pairs.gram_backward_pairs),
    "mean_gram": Entry(maths.mean_gram, pairs.mean_gram_pairs),
    "gram_loss": Entry(maths.style_loss, pairs.gram_loss_pairs),
    "gram_loss_backward": Entry(maths.style_loss_backward, pairs.gram_loss_backward_pairs),
    "style_loss": Entry(maths.style_loss, pairs.style_loss_pairs),
    "style_loss_backward": Entry(maths.style_loss_backward, pairs.style_loss_backward_pairs),
    "total_variation": Entry(maths.total_variation, pairs.total_variation_pairs),
    "total_variation_backward": Entry(
        maths.total_variation_backward, pairs.total_variation_backward_pairs
    ),
    "zero_pad": Entry(maths.zero_pad, painting.zero_pad_pairs),
    "zero_pad_backward": Entry(maths.zero_pad_backward, painting.zero_pad_backward_pairs),
    "reflect_pad": Entry(maths.reflect_pad, painting.reflect_pad_pairs),
    "reflect_pad_backward": Entry(maths.reflect_pad_backward, painting.reflect_pad_backward_pairs),
    "reflect_conv2d": Entry(maths.conv2d, painting.reflect_conv2d_pairs),
    "reflect_conv2d_backward": Entry(maths.conv2d_backward, painting.reflect_conv2d_backward_pairs),
    "depthwise_conv2d": Entry(maths.depthwise_conv2d, painting.depthwise_pairs),
    "depthwise_conv2d_backward": Entry(
        maths.depthwise_conv2d_backward, painting.depthwise_backward_pairs
    ),
    "depthwise_conv2d_backward_weights": Entry(
        maths.depthwise_conv2d_backward_weights, painting.depthwise_backward_weights_pairs
    ),
    "instance_statistics": Entry(maths.instance_norm, painting.instance_statistics_pairs),
    "instance_norm": Entry(maths.instance_norm, painting.instance_norm_pairs),
    "instance_norm_backward": Entry(
        maths.instance_norm_backward, painting.instance_norm_backward_pairs
    ),
    "add": Entry(None, painting.add_pairs),
    "relu6": Entry(maths.relu6, painting.relu6_pairs),
    "relu6_backward": Entry(maths.relu6_backward, painting.relu6_backward_pairs),
    "sigmoid": Entry(maths.sigmoid, painting.sigmoid_pairs),
    "sigmoid_backward": Entry(maths.sigmoid_backward, painting.sigmoid_backward_pairs),
    "upsample": Entry(maths.upsample, painting.upsample_pairs),
    "upsample_backward": Entry(maths.upsample_backward, painting.upsample_backward_pairs),
    "global_avg_pool": Entry(maths.global_avg_pool, painting.global_pool_pairs),
    "global_avg_pool_backward": Entry(
        maths.global_avg_pool_backward, painting.global_pool_backward_pairs
    ),
    "mirror": Entry(maths.mirror, pairs.mirror_pairs, F64),
    "mirror_backward": Entry(maths.mirror_backward, pairs.mirror_backward_pairs, F64),
    "precondition": Entry(maths.precondition, pairs.precondition_pairs),
    "precondition_backward": Entry(maths.precondition_backward, pairs.precondition_backward_pairs),
    "inner_products": Entry(None, pairs.inner_products_pairs),
    "combination": Entry(None, pairs.combination_pairs),
}
"""The entry of each public function of the engine, except the estimates of memory."""
