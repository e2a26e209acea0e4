"""The derivatives of training, at random inputs: Adam's sums, and a whole small network's weights.

As in `npstyle.lab.pages`, each function takes a random generator and yields the subjects of one
page of `npstyle.maths`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.lab.kinks import sides_of_layers
from npstyle.lab.pages import small_layers
from npstyle.lab.subjects import Subject
from npstyle.maths.adam import BETA_1, BETA_2, EPSILON
from npstyle.maths.array import Array
from npstyle.maths.layers import Add, Conv, InstanceNorm, Layer, Relu, Sigmoid, Upsample
from npstyle.maths.objective import ContentTerm, Preprocessing, StyleTerm
from npstyle.maths.training import Judge
from npstyle.maths.variation import total_variation

Step = Callable[[Array, Array, Array, int], tuple[Array, Array, Array]]
"""A step of Adam: from g, m, v and t to the new m and v, and the direction."""

STEPS = 4
"""Steps of Adam in its subjects."""

OUTPUT_SCALE = 255.0
"""Pixels are the small network's output times this."""

INPUT = Preprocessing("RGB", (127.5,) * 3, (1 / 127.5,) * 3)
"""How the small network reads photos."""

GAMMA = 1e-4
"""Weight of the total variation."""

JUDGED = Preprocessing("BGR", (103.939, 116.779, 123.68), (0.02,) * 3)
"""How its loss network reads pictures."""


def adam_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield m, v and the direction after some steps, in all gradients so far.

    Adam has no derivative of its own. But its page says what m and v are when written out, and the
    derivatives of these sums are known. They hold only if the steps compute the sums.
    """
    gradients = rng.standard_normal((STEPS, 6))
    left = np.arange(STEPS - 1.0, -1.0, -1.0)[:, None]
    in_m, in_v = (1 - BETA_1) * BETA_1**left, (1 - BETA_2) * BETA_2**left
    to_m, to_v = 1 - BETA_1**STEPS, 1 - BETA_2**STEPS

    def direction_backward(u: Array, g: Array) -> Array:
        m, s = (in_m * g).sum(axis=0) / to_m, np.sqrt((in_v * g**2).sum(axis=0) / to_v)
        at_m, at_s = u / (s + EPSILON), -u * m / (s + EPSILON) ** 2
        return at_m * in_m / to_m + at_s * in_v * g / (s * to_v)

    def after(k: int) -> Callable[[Array], Array]:
        return lambda g: adam_steps(g)[k]

    yield Subject(
        "adam, m", after(0), lambda u, g: in_m * u, (gradients,), linear=(0,), smooth=(0,)
    )
    yield Subject("adam, v", after(1), lambda u, g: 2 * in_v * g * u, (gradients,), smooth=(0,))
    yield Subject("adam, direction", after(2), direction_backward, (gradients,), smooth=(0,))


def adam_steps(gradients: Array, step: Step | None = None) -> tuple[Array, Array, Array]:
    """Return m, v and the direction d of the last of some steps, from gradients (steps, n).

    `step` takes the place of `npstyle.maths.adam_direction`.
    """
    step = step or maths.adam_direction
    mean = square = direction = np.zeros_like(gradients[0])
    for t, gradient in enumerate(gradients, 1):
        mean, square, direction = step(gradient, mean, square, t)
    return mean, square, direction


def small_transformer(rng: np.random.Generator) -> list[Layer]:
    """Return a network with every kind of layer of `npstyle.networks.johnson`, and few channels."""

    def conv(name: str, channels: int, filters: int, size: int = 3, stride: int = 1) -> Conv:
        kernel = rng.standard_normal((size, size, channels, filters)) / (size * channels**0.5)
        bias = rng.normal(0, 0.3, filters)
        return Conv(name, kernel, bias, stride, size // 2, "reflect")

    def norm(name: str, channels: int) -> InstanceNorm:
        return InstanceNorm(name, rng.normal(1, 0.3, channels), rng.normal(0, 0.3, channels))

    return [
        *(conv("conv1", 3, 2), norm("norm1", 2), Relu("relu1")),
        *(conv("conv2", 2, 3, stride=2), norm("norm2", 3), Relu("relu2")),
        *(conv("block_conv1", 3, 3), norm("block_norm1", 3), Relu("block_relu")),
        *(conv("block_conv2", 3, 3), norm("block_norm2", 3), Add("block_add", "relu2")),
        *(Upsample("upsample3", 2), conv("conv3", 3, 2), norm("norm3", 2), Relu("relu3")),
        *(conv("conv4", 2, 3), norm("norm4", 3), Sigmoid("sigmoid")),
    ]


@dataclass(frozen=True)
class SmallTraining:
    """A small network, its loss network, photos, and the terms of the loss of each."""

    layers: list[Layer]
    loss_network: list[Layer]
    photos: list[Array]
    terms: list[list[ContentTerm | StyleTerm]]

    @property
    def images(self) -> list[Array]:
        """The photos as the small network reads them."""
        return [
            maths.preprocess(x, INPUT.channel_order, INPUT.mean, INPUT.scale) for x in self.photos
        ]

    def judges(self) -> list[Judge]:
        """The objective of each photo, as a function of the picture."""
        return [
            partial(
                maths.objective,
                layers=self.loss_network,
                preprocessing=JUDGED,
                terms=terms,
                gamma=GAMMA,
            )
            for terms in self.terms
        ]

    def traced(self, layers: Sequence[Layer]) -> tuple[Any, Array]:
        """J for other weights, by the forward passes alone, and the sides of all kinks."""
        J: Any = 0.0
        sides = []
        for image, terms in zip(self.images, self.terms, strict=True):
            outputs = maths.forward(layers, image)
            picture = outputs[layers[-1].name] * OUTPUT_SCALE
            activations = run_loss_network(self.loss_network, picture)
            f = sum((t.loss(activations[t.layer]) for t in terms), GAMMA * total_variation(picture))
            J = J + f / len(self.photos)
            sides += [
                sides_of_layers(layers, outputs),
                sides_of_layers(self.loss_network, activations),
            ]
        return J, np.concatenate(sides)


def small_training(rng: np.random.Generator) -> SmallTraining:
    """Return a small network with a loss network for two photos and a painting."""
    loss_network: list[Layer] = [*small_layers(rng)]
    photos = list(rng.uniform(0, 255, (2, 8, 8, 3)))
    of_painting = run_loss_network(loss_network, rng.uniform(0, 255, (7, 9, 3)))
    style = [
        StyleTerm(name, 30.0, maths.mean_gram(of_painting[name])) for name in ("relu1_1", "relu2_1")
    ]
    terms: list[list[ContentTerm | StyleTerm]] = [
        [ContentTerm("relu2_1", 0.1, run_loss_network(loss_network, photo)["relu2_1"]), *style]
        for photo in photos
    ]
    return SmallTraining(small_transformer(rng), loss_network, photos, terms)


def run_loss_network(layers: Sequence[Layer], pixels: Array) -> dict[str, Array]:
    """Run the small loss network on a picture."""
    prep = JUDGED
    return maths.forward(
        layers, maths.preprocess(pixels, prep.channel_order, prep.mean, prep.scale)
    )


def training_subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Yield J of two photos and a small network, in all weights."""
    yield training_subject(small_training(rng))


def training_subject(small: SmallTraining) -> Subject:
    """Return J in three vectors: all kernels and biases, all scales, all shifts.

    An instance normalisation subtracts the mean of its input, so a bias in front of it has no
    effect: its derivative is 0. In a vector of its own nothing but rounding would be left of it.
    Beside the kernels, a difference shows that it is 0 on their scale.
    """
    groups = ("kernel", "bias"), ("scale",), ("shift",)
    arrays = {
        (layer.name, name): value
        for layer in small.layers
        for name, value in vars(layer).items()
        if isinstance(value, np.ndarray)
    }
    places = [[place for place in arrays if place[1] in group] for group in groups]

    def changed(*vectors: Array) -> list[Layer]:
        by_name: dict[str, Any] = {layer.name: layer for layer in small.layers}
        for group, vector in zip(places, vectors, strict=True):
            ends = np.cumsum([arrays[place].size for place in group])
            for (layer, name), part in zip(group, np.split(vector, ends[:-1]), strict=True):
                array = part.reshape(arrays[layer, name].shape)
                by_name[layer] = replace(by_name[layer], **{name: array})
        return list(by_name.values())

    def evaluate(*vectors: Array) -> tuple[Any, dict[str, dict[str, Array]]]:
        way = small.images, small.judges(), OUTPUT_SCALE
        return maths.training_gradient(changed(*vectors), *way)

    def backward(g: Array, *vectors: Array) -> tuple[Array, ...]:
        _, found = evaluate(*vectors)
        return tuple(
            g * np.concatenate([found[layer][name].ravel() for layer, name in group])
            for group in places
        )

    return Subject(
        "training: kernels and biases, scales, shifts",
        lambda *vectors: evaluate(*vectors)[0],
        backward,
        tuple(np.concatenate([arrays[place].ravel() for place in group]) for group in places),
        pattern=lambda *vectors: small.traced(changed(*vectors)),
    )
