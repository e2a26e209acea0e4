"""The student of `tools/train_builtin.py`: its layers, its start, and its file.

The start needs no gradient. Layer by layer, the teacher's channels are chosen from which its others
are predicted best, and the student's filters are fitted by least squares to what these channels see
(`tools/distill.py`), from what the student's layers so far make of the same pictures.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distill import Tensors, choose_channels, fit_rectified, student_forward
from numpy.typing import NDArray

from npstyle.engine.cpu.conv import conv2d
from npstyle.engine.cpu.losses import mean_gram
from npstyle.engine.cpu.preprocessing import preprocess
from npstyle.engine.passes import forward
from npstyle.images.pixels import Pixels
from npstyle.networks.architecture import ConvSpec, vgg_table
from npstyle.maths.network import Conv
from npstyle.networks.network import Network, accelerate
from npstyle.networks.verify import with_check
from npstyle.networks.weights import Weights, save_weights
from npstyle.run.settings import STYLE_LAYERS

Array = NDArray[Any]

LAYERS = vgg_table("E")
WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128}
TAUGHT = {**dict.fromkeys(STYLE_LAYERS, 1.0), "conv4_1": 2.0, "conv4_2": 1.0}
"""Layers where the student is compared with the teacher, and w_l."""

ACTIVATION_SCALE = 1 / 4
"""What the finished student's activations are multiplied by.

In the presets the content term is a mean squared difference of activations, the style term one of
Gram matrices times a further 1/N^2, as it was published. With a quarter of the channels the style
would count 16 times as much. The style term is of the fourth power in the activations, the content
term of the second, so a quarter of the activations takes that back, and the presets' numbers weigh
content against style as they do with the teacher. A power of 2 costs no rounding.
"""


def network_input(teacher: Network, pixels: Pixels) -> Array:
    """Preprocess as the teacher's weights ask for; the student takes the same."""
    return preprocess(pixels, teacher.channel_order, teacher.mean, teacher.scale, np.float32)


def taught_layers() -> tuple[Any, ...]:
    """The layers down to the deepest that is taught."""
    return LAYERS[: start_of("relu5_1") + 1]


def fit_layers(teacher: Network, tensors: Tensors, crops: Sequence[Pixels], first: str) -> None:
    """Start the student's layers from `first` on, from the teacher's channels, by least squares."""
    images = [network_input(teacher, crop) for crop in crops]
    names = [layer.name for layer in LAYERS if isinstance(layer, ConvSpec)]
    moments: dict[str, Any] = dict.fromkeys(names, 0.0)
    fast = accelerate(teacher, names)
    for image in images:
        for name, C in forward(fast, image, dict.fromkeys(names, mean_gram))[0].items():
            moments[name] = moments[name] + C
    inputs = [student_forward(LAYERS[: start_of(first)], tensors, image)[1][-1] for image in images]
    for index in range(start_of(first), len(LAYERS)):
        layer, large = LAYERS[index], teacher.layers[index]
        if isinstance(layer, ConvSpec):
            assert isinstance(large, Conv)
            chosen = choose_channels(moments[layer.name], WIDTHS[layer.name.split("_")[0]])
            weight, bias = large.kernel[..., chosen], large.bias[chosen]
            targets = [
                conv2d(teacher_input(fast, image, index), weight, bias, padding=layer.padding)
                for image in images
            ]
            fitted, left = fit_rectified(inputs, targets)
            tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"] = fitted
            print(f"start of {layer.name}: {len(chosen)} of {len(large.bias)} channels, {left:.4f}")
        inputs = [student_forward([layer], tensors, image)[1][-1] for image in inputs]


def start_of(name: str) -> int:
    """Index of the layer of this name."""
    return next(index for index, layer in enumerate(LAYERS) if layer.name == name)


def teacher_input(teacher: Network, image: Array, index: int) -> Array:
    """What the teacher's layer `index` is given."""
    if index == 0:
        return image
    before = teacher.activations()[index - 1]
    return forward(teacher, image, {before: np.array})[0][before]


def student(teacher: Network, tensors: Tensors) -> Network:
    """The student as a network, as deep as it is taught."""
    layers = tuple(
        replace(layer, kernel=tensors[f"{layer.name}.weight"], bias=tensors[f"{layer.name}.bias"])
        if isinstance(layer, Conv)
        else layer
        for layer in teacher.layers[: len(taught_layers())]
    )
    return replace(teacher, name="student", layers=layers)


def flat(activation: Array) -> Array:
    """(height, width, channels) -> (positions, channels)."""
    return activation.reshape(-1, activation.shape[-1])


def write_network(path: Path, teacher: Network, tensors: Tensors, steps: int) -> None:
    """Write the student, in float16, with the figures that `npstyle weights verify` compares."""
    halves = {}
    scale = ACTIVATION_SCALE
    for layer in LAYERS:
        if isinstance(layer, ConvSpec):
            kernel = tensors[f"{layer.name}.weight"].transpose(3, 2, 0, 1) * scale
            bias = tensors[f"{layer.name}.bias"] * ACTIVATION_SCALE
            halves[f"{layer.name}.weight"] = np.ascontiguousarray(kernel, np.float16)
            halves[f"{layer.name}.bias"] = bias.astype(np.float16)
            scale = 1.0  # the first convolution's outputs are small already
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
