"""The student of `tools/train_builtin.py`: its layers, its start, and its file.

The start needs no gradient. For each layer, those channels of the teacher are chosen that predict
its others best. Then the student's filters are fitted to these channels by least squares, with the
output of the student's previous layers as input (`tools/distill.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distill import Tensors, choose_channels, fit_rectified, student_forward

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.cpu import conv2d, mean_gram, preprocess
from npstyle.engine.passes import activations, forward, prepare
from npstyle.images.pixels import Pixels
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv
from npstyle.networks.architecture import ConvSpec, vgg_table
from npstyle.networks.network import Network
from npstyle.networks.verify import with_check
from npstyle.networks.weights import Weights, save_weights
from npstyle.run.settings import STYLE_LAYERS

LAYERS = vgg_table("E")
WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128}
"""Filters in each block of the student."""

TAUGHT = {**dict.fromkeys(STYLE_LAYERS, 1.0), "conv4_1": 2.0, "conv4_2": 1.0}
"""Layers at which the student is compared with the teacher, and the weights w_l of their losses."""

ACTIVATION_SCALE = 1 / 4
"""Factor on the activations of the finished student.

It makes the presets balance content and style as they do with the teacher. The style term has a
factor 1/N^2, so a quarter of the channels would make style count 16 times as much. The style term
is of degree four in the activations and the content term of degree two; with a quarter of the
activations the ratio is the same again. A power of 2 causes no rounding.
"""


def network_input(teacher: Network, pixels: Pixels) -> Array:
    """Preprocess pixels as the teacher needs them; the student takes the same input."""
    return preprocess(pixels, teacher.channel_order, teacher.mean, teacher.scale, np.float32)


def taught_layers() -> tuple[Any, ...]:
    """Return the layers down to the deepest one with a loss."""
    return LAYERS[: start_of("relu5_1") + 1]


def fit_layers(teacher: Network, tensors: Tensors, crops: Sequence[Pixels], first: str) -> None:
    """Fit the student's layers from `first` on to the teacher's channels by least squares.

    The kernels and biases are written to `tensors`.
    """
    images = [network_input(teacher, crop) for crop in crops]
    names = [layer.name for layer in LAYERS if isinstance(layer, ConvSpec)]
    moments: dict[str, Any] = dict.fromkeys(names, 0.0)
    fast = bind(teacher, names, route="fast")
    for image in images:
        for name, F in forward(fast, prepare(fast, image, names)):
            moments[name] = moments[name] + mean_gram(F)
            del F
    inputs = [student_forward(LAYERS[: start_of(first)], tensors, image)[1][-1] for image in images]
    for index in range(start_of(first), len(LAYERS)):
        layer, large = LAYERS[index], teacher.layers[index]
        if isinstance(layer, ConvSpec):
            assert isinstance(large, Conv)
            chosen = choose_channels(moments[layer.name], WIDTHS[layer.name.split("_")[0]])
            kernel, bias = large.kernel[..., chosen], large.bias[chosen]
            targets = [
                conv2d(teacher_input(fast, image, index), kernel, bias, padding=layer.padding)
                for image in images
            ]
            fitted, left = fit_rectified(inputs, targets)
            tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"] = fitted
            print(
                f"start of {layer.name}: {len(chosen)} of {len(large.bias)} channels, "
                f"relative squared error {left:.4f}"
            )
        inputs = [student_forward([layer], tensors, image)[1][-1] for image in inputs]


def start_of(name: str) -> int:
    """Return the index of the layer with this name."""
    return next(index for index, layer in enumerate(LAYERS) if layer.name == name)


def teacher_input(teacher: BoundNetwork, image: Array, index: int) -> Array:
    """Return the input of the teacher's layer `index`."""
    if index == 0:
        return image
    before = teacher.network.activations()[index - 1]
    return activations(teacher, image, [before])[before]


def student(teacher: Network, tensors: Tensors) -> Network:
    """Return the student as a network, down to the deepest layer with a loss."""
    layers = tuple(
        replace(layer, kernel=tensors[f"{layer.name}.weight"], bias=tensors[f"{layer.name}.bias"])
        if isinstance(layer, Conv)
        else layer
        for layer in teacher.layers[: len(taught_layers())]
    )
    return replace(teacher, name="student", layers=layers)


def flat(activation: Array) -> Array:
    """Reshape (height, width, channels) to (positions, channels)."""
    return activation.reshape(-1, activation.shape[-1])


def write_network(path: Path, teacher: Network, tensors: Tensors, steps: int) -> None:
    """Write the student in float16, with the values that `npstyle weights verify` compares."""
    halves = {}
    scale = ACTIVATION_SCALE
    for layer in LAYERS:
        if isinstance(layer, ConvSpec):
            kernel = tensors[f"{layer.name}.weight"].transpose(3, 2, 0, 1) * scale
            bias = tensors[f"{layer.name}.bias"] * ACTIVATION_SCALE
            halves[f"{layer.name}.weight"] = np.ascontiguousarray(kernel, np.float16)
            halves[f"{layer.name}.bias"] = bias.astype(np.float16)
            scale = 1.0  # the input of the following layers is scaled already
    weights = Weights(
        name="builtin",
        layers=LAYERS,
        tensors=halves,
        channel_order=teacher.channel_order,
        mean=teacher.mean,
        scale=teacher.scale,
        source=f"distilled from {teacher.name} by {steps} steps of tools/train_builtin.py",
        license="CC BY 4.0; teacher: VGG-19, Visual Geometry Group, University of Oxford",
        source_sha256=teacher.sha256,
    )
    save_weights(path, with_check(weights))
