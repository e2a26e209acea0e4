"""The battery: every derivative of npstyle, by chapter, ready for `check_subject`.

Most chapters are pages of the textbook, `npstyle.maths` (see `npstyle.lab.pages`). Two belong to
the engine and are checked numerically there: Winograd's convolution, and the objective by tiles.
Subjects that need a whole network are in `npstyle.lab.whole`.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.engine.bind import bind
from npstyle.engine.cpu import winograd
from npstyle.engine.guides import Region, Source
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.lab import feedforward, pages, training
from npstyle.lab.kinks import sides_of_bound
from npstyle.lab.subjects import Subject
from npstyle.maths.array import Array
from npstyle.maths.layers import run_layer, run_layer_backward, run_layer_backward_weights
from npstyle.networks.network import Network
from npstyle.tiles.cut import receptive_field
from npstyle.tiles.objective import TiledObjective
from npstyle.tiles.passes import tile_backward, tile_forward

Subjects = Callable[[np.random.Generator], Iterator[Subject]]
"""From a random generator to the derivatives to check."""


@dataclass(frozen=True)
class Chapter:
    """A page of the textbook, or a module of the engine that derives something.

    Attributes
    ----------
    functions : tuple of callables
        In reading order.
    subjects : callable
    engine : tuple of str
        Functions of the engine that compute what the page describes.
    """

    functions: tuple[Callable[..., Any], ...]
    subjects: Subjects
    engine: tuple[str, ...]

    @property
    def module(self) -> ModuleType:
        """The module of the first function; its docstring has the derivation."""
        return sys.modules[self.functions[0].__module__]


def winograd_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield Winograd's convolution, alone and with its ReLU, at sizes no tile divides."""
    x, b = rng.standard_normal((9, 6, 3)), rng.standard_normal(4)
    filters = winograd.transform_filters(rng.standard_normal((3, 3, 3, 4)))

    def rectified(x: Array) -> Array:
        return winograd.winograd_conv2d(x, filters, b, rectify=True)

    yield Subject(
        "winograd_conv2d",
        lambda x: winograd.winograd_conv2d(x, filters, b),
        lambda g, x: winograd.winograd_conv2d_backward(g, filters),
        (x,),
        linear=(0,),
        smooth=(0,),
    )
    yield Subject(
        "winograd_conv2d with ReLU",
        rectified,
        lambda g, x: winograd.winograd_conv2d_backward(g, filters, rectified(x)),
        (x,),
        pattern=lambda x: (rectified(x), rectified(x) > 0),
    )


def small_tiled(rng: np.random.Generator) -> tuple[StyleObjective, TiledObjective, Array]:
    """Return an objective with two regions and total variation, the same by tiles, and pixels."""
    layers = tuple(pages.small_layers(rng))
    network = Network("small", layers, "BGR", (120.0,) * 3, (0.02,) * 3, False, "")
    losses = Losses(
        content_layers={"conv2_1": 3.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 1.0},
        tv_weight=0.1,
    )
    photo, painting, x = (rng.uniform(0, 255, (7, 11, 3)) for _ in range(3))
    left = rng.uniform(0, 1, (7, 11))
    regions = [Region((Source(painting),), left), Region((Source(photo),), 1 - left)]
    bound = bind(network, losses.layers)
    whole = StyleObjective(bound, photo, regions, losses)
    return whole, TiledObjective(bound, photo, regions, losses, tile=2), x


def tile_subject(whole: StyleObjective, tiled: TiledObjective, x: Array) -> Subject:
    """Return the value of the whole picture's objective with the gradient by tiles."""

    def traced(x: Array) -> tuple[float, Array]:
        loss, cache = whole.value(x)
        return loss, sides_of_bound(whole.bound, cache)

    return Subject(
        "objective by tiles",
        lambda x: whole.value(x)[0],
        lambda g, x: g * tiled(x).gradient,
        (x,),
        pattern=traced,
    )


def tile_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield a small objective by tiles."""
    yield tile_subject(*small_tiled(rng))


def joined(*parts: Subjects) -> Subjects:
    """Return the subjects of several functions as one."""
    return lambda rng: chain.from_iterable(part(rng) for part in parts)


CHAPTERS = {
    "preprocess": Chapter(
        (maths.preprocess, maths.preprocess_backward),
        pages.preprocess_subjects,
        ("preprocess", "preprocess_backward"),
    ),
    "zero": Chapter(
        (maths.zero_pad, maths.zero_pad_backward),
        joined(pages.zero_subjects, feedforward.zero_after_subjects),
        ("zero_pad", "zero_pad_backward", "conv2d", "conv2d_backward"),
    ),
    "replicate": Chapter(
        (maths.replicate_pad, maths.replicate_pad_backward),
        pages.replicate_subjects,
        ("replicate_pad", "replicate_pad_backward"),
    ),
    "reflect": Chapter(
        (maths.reflect_pad, maths.reflect_pad_backward),
        feedforward.reflect_subjects,
        ("reflect_pad", "reflect_pad_backward", "reflect_conv2d", "reflect_conv2d_backward"),
    ),
    "windows": Chapter(
        (maths.windows, maths.output_size), pages.window_subjects, ("conv2d", "max_pool2d")
    ),
    "conv2d": Chapter(
        (maths.conv2d, maths.conv2d_backward, maths.conv2d_backward_weights),
        pages.conv_subjects,
        (
            "conv2d",
            "conv2d_backward",
            "conv2d_backward_weights",
            "tensor_conv2d",
            "tensor_conv2d_backward",
        ),
    ),
    "depthwise": Chapter(
        (
            maths.depthwise_conv2d,
            maths.depthwise_conv2d_backward,
            maths.depthwise_conv2d_backward_weights,
        ),
        feedforward.depthwise_subjects,
        ("depthwise_conv2d", "depthwise_conv2d_backward", "depthwise_conv2d_backward_weights"),
    ),
    "relu": Chapter(
        (maths.relu, maths.relu_backward),
        pages.relu_subjects,
        ("relu", "relu_mask", "relu_backward"),
    ),
    "relu6": Chapter(
        (maths.relu6, maths.relu6_backward),
        feedforward.relu6_subjects,
        ("relu6", "relu6_backward"),
    ),
    "avg_pool2d": Chapter(
        (maths.avg_pool2d, maths.avg_pool2d_backward),
        pages.avg_pool_subjects,
        ("avg_pool2d", "avg_pool2d_backward"),
    ),
    "max_pool2d": Chapter(
        (maths.max_pool2d, maths.max_pool2d_winners, maths.max_pool2d_backward),
        pages.max_pool_subjects,
        ("max_pool2d", "max_pool2d_backward"),
    ),
    "l2_pool2d": Chapter(
        (maths.l2_pool2d, maths.l2_pool2d_backward),
        pages.l2_pool_subjects,
        ("l2_pool2d", "l2_pool2d_backward"),
    ),
    "global_avg_pool": Chapter(
        (maths.global_avg_pool, maths.global_avg_pool_backward),
        feedforward.global_pool_subjects,
        ("global_avg_pool", "global_avg_pool_backward"),
    ),
    "instance_norm": Chapter(
        (
            maths.instance_norm,
            maths.instance_norm_backward,
            maths.instance_norm_backward_weights,
        ),
        feedforward.instance_norm_subjects,
        ("instance_statistics", "instance_norm", "instance_norm_backward"),
    ),
    "upsample": Chapter(
        (maths.upsample, maths.upsample_backward),
        feedforward.upsample_subjects,
        ("upsample", "upsample_backward"),
    ),
    "sigmoid": Chapter(
        (maths.sigmoid, maths.sigmoid_backward),
        feedforward.sigmoid_subjects,
        ("sigmoid", "sigmoid_backward"),
    ),
    "network": Chapter(
        (
            maths.forward,
            maths.backward,
            maths.backward_everywhere,
            maths.backward_weights,
            run_layer,
            run_layer_backward,
            run_layer_backward_weights,
        ),
        joined(pages.network_subjects, feedforward.predictor_subjects),
        (),
    ),
    "conditional": Chapter(
        (maths.conditioned, maths.conditioned_backward),
        feedforward.conditional_subjects,
        ("instance_norm", "instance_norm_backward"),
    ),
    "content": Chapter(
        (maths.content_loss, maths.content_loss_backward),
        pages.content_subjects,
        ("content_loss", "content_loss_backward"),
    ),
    "gram": Chapter(
        (maths.gram, maths.gram_backward, maths.mean_gram, maths.mean_gram_backward),
        pages.gram_subjects,
        ("gram", "gram_backward", "mean_gram"),
    ),
    "style": Chapter(
        (maths.style_loss, maths.style_loss_backward),
        pages.style_subjects,
        ("gram_loss", "gram_loss_backward", "style_loss", "style_loss_backward"),
    ),
    "tv": Chapter(
        (maths.total_variation, maths.total_variation_backward),
        pages.tv_subjects,
        ("total_variation", "total_variation_backward"),
    ),
    "objective": Chapter((maths.objective,), pages.objective_subjects, ()),
    "mirror": Chapter(
        (maths.mirror, maths.mirror_backward),
        pages.mirror_subjects,
        ("mirror", "mirror_backward"),
    ),
    "precondition": Chapter(
        (maths.spectrum, maths.dct_matrix, maths.precondition, maths.precondition_backward),
        pages.precondition_subjects,
        ("precondition", "precondition_backward"),
    ),
    "adam": Chapter((maths.adam_direction,), training.adam_subjects, ()),
    "checkerboard": Chapter(
        (maths.checkerboard_loss, maths.checkerboard_loss_backward),
        pages.checkerboard_subjects,
        (),
    ),
    "training": Chapter((maths.training_gradient,), training.training_subjects, ()),
    "winograd": Chapter(
        (winograd.winograd_conv2d, winograd.winograd_conv2d_backward),
        winograd_subjects,
        ("transform_filters", "winograd_conv2d", "winograd_conv2d_backward"),
    ),
    "tiles": Chapter((receptive_field, tile_forward, tile_backward), tile_subjects, ()),
}
"""All chapters by name: those of the textbook in reading order, then the engine's own."""
