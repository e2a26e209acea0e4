"""Wrong derivatives of networks, objectives and trainings; see `npstyle.lab.mutations`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npstyle import maths
from npstyle.engine.losses import Losses
from npstyle.lab import feedforward
from npstyle.lab.layer_mutations import Build, Mutation, first, wrong
from npstyle.lab.pages import network_subject, objective_subject, small_layers
from npstyle.lab.subjects import Subject
from npstyle.lab.training import Step, adam_steps, small_training, training_subject
from npstyle.lab.whole import textbook_objective
from npstyle.maths.adam import BETA_1, BETA_2, EPSILON
from npstyle.maths.array import Array
from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import Layer, run_layer_backward
from npstyle.networks.network import Network

Gradients = dict[str, dict[str, Array]]
"""By the name of a layer and of its array."""

FACTORS = maths.spectrum(5, 4, 0.5, 1 / 64, 0.25, (1.0, 0.7, 0.5))
"""Those of the subject of the chapter `precondition`."""

LOSSES = Losses(
    content_layers={"conv2_1": 1.0},
    style_layers={"conv1_1": 0.5, "conv2_1": 8.0},
    content_weight=60.0,
    style_weight=600.0,
    tv_weight=1e-5,
)
"""Of the objective that is varied. All terms have gradients of about the same size, so that a
mistake in one of them is not hidden by the others."""


def small_network(rng: np.random.Generator) -> Network:
    """Return a network with two blocks of few channels."""
    layers = tuple(small_layers(rng))
    return Network("small", layers, "BGR", (120.0,) * 3, (0.02,) * 3, False, "")


def through_network(
    rng: np.random.Generator,
    layers: Sequence[Layer],
    spoil: Callable[[dict[str, Array], dict[str, Array]], None],
) -> Subject:
    """Return relu1_1 and relu2_1; `spoil` changes their outputs and gradients before backward."""
    names = ("relu1_1", "relu2_1")

    def backward(g: Array, x: Array) -> Array:
        outputs = maths.forward(layers, x)
        pieces = np.split(g, [outputs[names[0]].size])
        gradients = {
            name: piece.reshape(outputs[name].shape).copy()
            for name, piece in zip(names, pieces, strict=True)
        }
        spoil(outputs, gradients)
        return maths.backward(layers, outputs, gradients)

    return replace(network_subject("network", layers, rng, names), backward=backward)


def mask_forgotten(outputs: dict[str, Array], gradients: dict[str, Array]) -> None:
    """Take the last ReLU for one that lets everything pass."""
    outputs["relu2_1"] = np.ones_like(outputs["relu2_1"])


def middle_dropped(outputs: dict[str, Array], gradients: dict[str, Array]) -> None:
    """Drop the gradient of the loss at the layer in the middle."""
    gradients["relu1_1"][:] = 0


def objective(network: Network, rng: np.random.Generator, **changes: Any) -> Subject:
    """Return an objective with the gradient of one whose losses are changed."""
    photo, painting, x = (rng.uniform(0, 255, (8, 8, 3)) for _ in range(3))
    right = textbook_objective(network, photo, painting, LOSSES)
    changed = textbook_objective(network, photo, painting, replace(LOSSES, **changes))
    subject = objective_subject(
        "objective", x, right.layers, right.preprocessing, right.terms, right.gamma
    )
    return replace(subject, backward=lambda g, x: g * changed(x)[1])


PHOTO, CODE = 0, 1
"""Inputs of the small painter; its arrays follow."""


def painter(
    at: int | None = None,
    skip: float = 1,
    code: Callable[[Sequence[Layer | ConditionalNorm], Gradients], Array] | None = None,
    maps: Callable[[Mapping[str, Mapping[str, Array]]], Gradients] | None = None,
) -> Build:
    """Return the small painter with a wrong gradient.

    Parameters
    ----------
    at : int, optional
        The input whose gradient is under test, by default all.
    skip : float
        Factor of the gradient that goes through the residual sum to the earlier layer.
    code : callable, optional
        Replaces the gradient at the code.
    maps : callable, optional
        Changes the gradients at the maps from the code.
    """

    def build(rng: np.random.Generator) -> Subject:
        layers, places = feedforward.small_painter(rng), feedforward.PAINTER_ARRAYS
        subject = feedforward.painter_subject("painter", layers, places, rng)
        names = [layer.name for layer in layers]

        def backward(g: Array, x: Array, c: Array, *arrays: Array) -> tuple[Array, ...]:
            changed = feedforward.with_arrays(layers, places, arrays)
            plain = maths.conditioned(changed, c)
            outputs = maths.forward(plain, x)
            pieces = np.split(g, [outputs["add"].size])
            arriving = {
                end: piece.reshape(outputs[end].shape)
                for end, piece in zip(["add", names[-1]], pieces, strict=True)
            }
            for layer, before in zip(plain[::-1], ["image", *names][-2::-1], strict=True):
                if layer.name in arriving:
                    X, Y = outputs[before], outputs[layer.name]
                    way_back = run_layer_backward(layer, arriving[layer.name], X, Y)
                    arriving[before] = arriving.get(before, 0) + way_back
                    if layer.name == "add":
                        arriving["relu1"] = arriving[layer.name] * skip
            found = maths.backward_weights(plain, outputs, arriving)
            at_code, at_maps = maths.conditioned_backward(changed, c, found)
            at_code = code(changed, found) if code else at_code
            found |= maps(at_maps) if maps else at_maps
            return arriving["image"], at_code, *(found[layer][name] for layer, name in places)

        subject = replace(subject, backward=backward)
        return subject if at is None else with_one_gradient(subject, at)

    return build


def with_one_gradient(subject: Subject, k: int) -> Subject:
    """Return the subject with the gradient of its k-th input alone under test."""

    def backward(g: Array, *inputs: Array) -> tuple[Array | None, ...]:
        assert subject.backward is not None
        gradients = subject.backward(g, *inputs)
        return tuple(gradient if i == k else None for i, gradient in enumerate(gradients))

    return replace(subject, backward=backward)


def of_the_scales_only(layers: Sequence[Layer | ConditionalNorm], found: Gradients) -> Array:
    """Return A^T dL/da, without B^T dL/db."""
    norms = [layer for layer in layers if isinstance(layer, ConditionalNorm)]
    return np.sum([norm.scale_weights.T @ found[norm.name]["scale"] for norm in norms], axis=0)


def of_the_last_norm_only(layers: Sequence[Layer | ConditionalNorm], found: Gradients) -> Array:
    """Return dL/dc of the last normalisation, without the sum over all."""
    norm = [layer for layer in layers if isinstance(layer, ConditionalNorm)][-1]
    at_a, at_b = found[norm.name]["scale"], found[norm.name]["shift"]
    total: Array = norm.scale_weights.T @ at_a + norm.shift_weights.T @ at_b
    return total


def adam(
    betas: tuple[float, float] = (BETA_1, BETA_2),
    correct: tuple[bool, bool] = (True, True),
    square: Callable[[Array], Array] = np.square,
    root: Callable[[Array], Array] = np.sqrt,
    shift: int = 0,
    epsilon: Callable[[Array], Array] = lambda s: s + EPSILON,
) -> Step:
    """Return `npstyle.maths.adam_direction` with one of its parts replaced."""

    def direction(g: Array, m: Array, v: Array, t: int) -> tuple[Array, Array, Array]:
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * square(g)
        to_m, to_v = (
            1 - beta ** (t + shift) if on else 1.0 for beta, on in zip(betas, correct, strict=True)
        )
        return m, v, (m / to_m) / epsilon(root(v / to_v))

    return direction


def steps(direction: Step) -> Build:
    """Return the direction after some wrong steps of Adam, with the derivative of the right one."""
    return lambda rng: replace(
        first("adam", rng, 2), function=lambda g: adam_steps(g, direction)[2]
    )


def checkerboard_with_mean(g: Array, x: Array) -> Array:
    """Return g dE/dX of the chapter's first subject, 2 R in place of 2 (R - m)."""
    m = maths.upsample(maths.avg_pool2d(x, 4, 4), 4)
    return g * (maths.checkerboard_loss_backward(x, 2, 4) + 2 * m)


def training(change: Callable[[tuple[Array, ...]], tuple[Array, ...]]) -> Build:
    """Change the gradients of a training at the kernels and biases, the scales, and the shifts."""

    def build(rng: np.random.Generator) -> Subject:
        subject = training_subject(small_training(rng))
        right = subject.backward
        assert right is not None
        return replace(subject, backward=lambda g, *vectors: change(right(g, *vectors)))

    return build


def content_of_the_other_photo(rng: np.random.Generator) -> Subject:
    """Return a training in which each picture is compared with the other photo."""
    small = small_training(rng)
    other = training_subject(replace(small, terms=small.terms[::-1]))
    return replace(training_subject(small), backward=other.backward)


WHOLE = {
    "network_mask_forgotten": Mutation(
        "network",
        "The mask of one ReLU among the layers is forgotten.",
        lambda rng: through_network(rng, small_layers(rng), mask_forgotten),
    ),
    "network_middle_dropped": Mutation(
        "network",
        "The gradient of a loss at a layer in the middle is dropped when the gradient from above "
        "arrives there.",
        lambda rng: through_network(rng, small_layers(rng), middle_dropped),
    ),
    "residual_skip_forgotten": Mutation(
        "network",
        "The residual sum sends its gradient to the layer before it only, not to S.",
        painter(PHOTO, skip=0),
    ),
    "code_gradient_of_the_scales_only": Mutation(
        "conditional",
        "The code's gradient of the scales is there, that of the shifts is forgotten.",
        painter(CODE, code=of_the_scales_only),
    ),
    "code_gradient_of_one_layer": Mutation(
        "conditional",
        "The code's gradient comes from the last normalisation only, not from all.",
        painter(CODE, code=of_the_last_norm_only),
    ),
    "objective_weights_exchanged": Mutation(
        "objective",
        "alpha and beta are exchanged.",
        lambda rng: objective(small_network(rng), rng, content_weight=600.0, style_weight=60.0),
    ),
    "objective_one_layer_forgotten": Mutation(
        "objective",
        "Where two terms meet at a layer, one of them is forgotten.",
        lambda rng: objective(small_network(rng), rng, style_layers={"conv1_1": 0.5}),
    ),
    "objective_total_variation_forgotten": Mutation(
        "objective",
        "The total variation is in f, but its derivative is not in df/dx.",
        lambda rng: objective(small_network(rng), rng, tv_weight=0.0),
    ),
    "mirror_sign_forgotten": Mutation(
        "mirror",
        "The sign is forgotten: outside the box, too, z moves as x does.",
        wrong("mirror", lambda g, z: g),
    ),
    "mirror_like_a_clip": Mutation(
        "mirror",
        "The gradient is 0 outside the box, as if numbers were clipped there.",
        wrong("mirror", lambda g, z: g * ((z >= 0) & (z <= maths.PIXEL_MAX))),
    ),
    "mirror_sign_of_z": Mutation(
        "mirror",
        "The sign is that of z, not that of r, which is right close to the box only.",
        wrong("mirror", lambda g, z: np.where(z < 0, -g, g)),
    ),
    "adam_second_mean_not_corrected": Mutation(
        "adam",
        "v is not divided by 1 - beta_2^t.",
        steps(adam(correct=(True, False))),
    ),
    "adam_root_forgotten": Mutation(
        "adam", "m is divided by v, not by its root.", steps(adam(root=lambda v: v))
    ),
    "adam_steps_from_2": Mutation(
        "adam", "The steps are counted from 2, not from 1.", steps(adam(shift=1))
    ),
    "checkerboard_mean_not_subtracted": Mutation(
        "checkerboard",
        "m is not subtracted, so that plain colours have a gradient.",
        wrong("checkerboard", checkerboard_with_mean),
    ),
    "checkerboard_divided_by_the_cells": Mutation(
        "checkerboard",
        "The share 1/n of a pixel in R is there, the factor n of E is forgotten.",
        wrong("checkerboard", lambda g, x: g * maths.checkerboard_loss_backward(x, 2, 4) / 4),
    ),
    "checkerboard_windows_forgotten": Mutation(
        "checkerboard",
        "The means are those of the whole picture, not of each window.",
        wrong("checkerboard", lambda g, x: g * maths.checkerboard_loss_backward(x, 2, 8)),
    ),
    "training_sum_instead_of_mean": Mutation(
        "training",
        "The photos' gradients are added, not averaged.",
        training(lambda found: tuple(2 * gradient for gradient in found)),
    ),
    "training_scales_and_shifts_exchanged": Mutation(
        "training",
        "The gradients of a normalisation's scale and shift are exchanged.",
        training(lambda found: (found[0], found[2], found[1])),
    ),
    "training_content_of_the_other_photo": Mutation(
        "training",
        "The content term compares each picture with the other photo.",
        content_of_the_other_photo,
    ),
    "precondition_factors_forgotten": Mutation(
        "precondition",
        "The factors s are forgotten.",
        wrong("precondition", lambda g, w: maths.precondition_backward(g, np.ones_like(FACTORS))),
    ),
    "precondition_factors_before_the_transform": Mutation(
        "precondition",
        "The factors multiply the pixels' gradient, not its frequencies.",
        wrong(
            "precondition",
            lambda g, w: maths.precondition_backward(FACTORS * g, np.ones_like(FACTORS)),
        ),
    ),
}
"""By name."""
