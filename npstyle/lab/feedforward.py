"""The derivatives of networks that paint in one pass, each page's with random inputs.

As in `npstyle.lab.pages`, each function takes a random generator and yields the subjects of one
page of `npstyle.maths`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.lab.kinks import sides_of_layers
from npstyle.lab.pages import padding_subjects
from npstyle.lab.subjects import Subject
from npstyle.maths.array import Array
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    Layer,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)

Place = tuple[str, str]
"""The name of a layer, and of one of its arrays."""


def zero_after_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield zero padding by another number below and to the right."""
    yield Subject(
        "zero +0, +1",
        lambda x: maths.zero_pad(x, 0, 1),
        lambda g, x: maths.zero_pad_backward(g, 0, 1),
        (rng.standard_normal((4, 5, 3)),),
        linear=(0,),
        smooth=(0,),
    )


def reflect_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield reflect padding, once so wide that all pixels but one are copied."""
    yield from padding_subjects("reflect", maths.reflect_pad, maths.reflect_pad_backward, rng, 4)


def depthwise_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield depthwise convolution in image, kernel and bias, with and without stride."""
    for size, stride, padding in [((3, 3), 1, 1), ((3, 2), 2, 1)]:
        way = stride, padding

        def function(x: Array, k: Array, b: Array, way: tuple[int, int] = way) -> Array:
            return maths.depthwise_conv2d(x, k, b, *way)

        def backward(
            g: Array, x: Array, k: Array, b: Array, way: tuple[int, int] = way
        ) -> tuple[Array, Array, Array]:
            size = k.shape[0], k.shape[1]
            return (
                maths.depthwise_conv2d_backward(g, k, x.shape, *way),
                *maths.depthwise_conv2d_backward_weights(g, x, size, *way),
            )

        x, k, b = (rng.standard_normal(shape) for shape in [(5, 6, 3), (*size, 3), (3,)])
        name = f"depthwise_conv2d {size[0]}x{size[1]} /{stride}"
        yield Subject(name, function, backward, (x, k, b), linear=(0, 1, 2), smooth=(0, 1, 2))


def relu6_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield ReLU6, with values exactly at both of its kinks."""
    z = rng.uniform(-6, 12, (5, 6, 3))
    z[0, 0, 0], z[4, 5, 2] = 0.0, 6.0
    yield Subject(
        "relu6",
        maths.relu6,
        lambda g, z: maths.relu6_backward(g, maths.relu6(z)),
        (z,),
        pattern=lambda z: (maths.relu6(z), np.sign(z) + np.sign(z - 6)),
    )


def global_pool_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield global average pooling."""
    yield Subject(
        "global_avg_pool",
        maths.global_avg_pool,
        lambda g, x: maths.global_avg_pool_backward(g, x.shape),
        (rng.standard_normal((4, 5, 3)),),
        linear=(0,),
        smooth=(0,),
    )


def instance_norm_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield instance normalisation in image, scale and shift, also where epsilon counts."""
    for spread in (1.0, 1e-2):
        x = rng.normal(0.5, spread, (4, 5, 3))
        scale, shift = rng.standard_normal((2, 3))
        yield Subject(
            f"instance_norm, deviation {spread}",
            lambda x, a, b: maths.instance_norm(x, a, b, 1e-4),
            lambda g, x, a, b: (
                maths.instance_norm_backward(g, x, a, 1e-4),
                *maths.instance_norm_backward_weights(g, x, 1e-4),
            ),
            (x, scale, shift),
            linear=(1, 2),
            smooth=(0, 1, 2),
        )


def upsample_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield nearest-neighbour upsampling."""
    for factor in (2, 3):
        yield Subject(
            f"upsample x{factor}",
            partial(maths.upsample, factor=factor),
            lambda g, x, f=factor: maths.upsample_backward(g, f),
            (rng.standard_normal((3, 4, 2)),),
            linear=(0,),
            smooth=(0,),
        )


def sigmoid_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield the sigmoid."""
    yield Subject(
        "sigmoid",
        maths.sigmoid,
        lambda g, z: maths.sigmoid_backward(g, maths.sigmoid(z)),
        (2 * rng.standard_normal((4, 5, 3)),),
        smooth=(0,),
    )


def small_painter(rng: np.random.Generator, width: int = 3) -> list[Layer | ConditionalNorm]:
    """Return a network with every kind of layer that paints, and `width` channels."""

    def conv(name: str, channels: int, filters: int, stride: int = 1) -> Conv:
        kernel = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        return Conv(name, kernel, rng.normal(0, 0.3, filters), stride, 1, "reflect")

    def norm(name: str) -> ConditionalNorm:
        A, B = rng.standard_normal((2, width, 2))
        a_0, b_0 = rng.standard_normal((2, width))
        return ConditionalNorm(name, A, a_0, B, b_0)

    depthwise = rng.standard_normal((3, 3, width))
    return [
        conv("conv1", 3, width, 2),
        norm("norm1"),
        Relu("relu1"),
        conv("conv2", width, width),
        norm("norm2"),
        Add("add", "relu1"),
        Upsample("upsample", 2),
        conv("conv3", width, width),
        Pad("pad", 0, 1),
        DepthwiseConv("depthwise", 6 * depthwise, rng.normal(0, 0.3, width), 1, 1),
        Relu6("relu6"),
        conv("conv4", width, 3),
        Sigmoid("sigmoid"),
    ]


PAINTER_ARRAYS = [
    ("conv1", "kernel"),
    ("norm1", "scale_weights"),
    ("norm1", "scale_bias"),
    ("norm2", "shift_weights"),
    ("norm2", "shift_bias"),
    ("conv3", "kernel"),
    ("depthwise", "kernel"),
    ("depthwise", "bias"),
    ("conv4", "bias"),
]
"""Arrays of `small_painter`. Biases in front of a normalisation are left out: they have no effect,
and a difference would be rounding alone."""


def conditional_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield a small network that paints, in picture, style code and weights."""
    yield painter_subject("painter", small_painter(rng), PAINTER_ARRAYS, rng)


def painter_subject(
    name: str,
    layers: Sequence[Layer | ConditionalNorm],
    places: Sequence[Place],
    rng: np.random.Generator,
) -> Subject:
    """Return the outputs of "add" and of the last layer in picture, code and some arrays."""
    ends = ["add", layers[-1].name]

    def run(x: Array, code: Array, *arrays: Array) -> tuple[list[Layer], dict[str, Array]]:
        plain = maths.conditioned(with_arrays(layers, places, arrays), code)
        return plain, maths.forward(plain, x)

    def function(*inputs: Array) -> Array:
        outputs = run(*inputs)[1]
        return np.concatenate([outputs[end].ravel() for end in ends])

    def backward(g: Array, x: Array, code: Array, *arrays: Array) -> tuple[Array, ...]:
        plain, outputs = run(x, code, *arrays)
        pieces = np.split(g, [outputs["add"].size])
        gradients = {
            end: piece.reshape(outputs[end].shape) for end, piece in zip(ends, pieces, strict=True)
        }
        arriving = maths.backward_everywhere(plain, outputs, gradients)
        found = maths.backward_weights(plain, outputs, arriving)
        conditional = with_arrays(layers, places, arrays)
        at_code, at_maps = maths.conditioned_backward(conditional, code, found)
        found |= at_maps
        return arriving["image"], at_code, *(found[layer][array] for layer, array in places)

    def traced(*inputs: Array) -> tuple[Array, Array]:
        return function(*inputs), sides_of_layers(*run(*inputs))

    by_name = {layer.name: layer for layer in layers}
    arrays = tuple(getattr(by_name[layer], array) for layer, array in places)
    inputs = (rng.standard_normal((6, 4, 3)), rng.standard_normal(2), *arrays)
    return Subject(name, function, backward, inputs, traced)


def with_arrays(
    layers: Sequence[Layer | ConditionalNorm], places: Sequence[Place], arrays: Sequence[Array]
) -> list[Layer | ConditionalNorm]:
    """Return the layers with other arrays at some places."""
    found: dict[str, Any] = {layer.name: layer for layer in layers}
    for (layer, name), array in zip(places, arrays, strict=True):
        found[layer] = replace(found[layer], **{name: array})
    return list(found.values())


def predictor_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield a small network that reads a code from a picture."""
    layers: list[Layer] = [
        Pad("pad", 0, 1),
        Conv("conv1", rng.standard_normal((3, 3, 3, 4)), rng.standard_normal(4), 2),
        Relu6("relu1"),
        DepthwiseConv("depthwise", rng.standard_normal((3, 3, 4)), rng.standard_normal(4), 1, 1),
        GlobalPool("mean"),
    ]

    def traced(x: Array) -> tuple[Array, Array]:
        outputs = maths.forward(layers, x)
        return outputs["mean"], sides_of_layers(layers, outputs)

    yield Subject(
        "network, to a code",
        lambda x: maths.forward(layers, x)["mean"],
        lambda g, x: maths.backward(layers, maths.forward(layers, x), {"mean": g}),
        (rng.standard_normal((6, 8, 3)),),
        traced,
    )
