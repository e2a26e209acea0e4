"""Wrong derivatives, each a small variation of the right one, must all be caught."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.cpu.winograd import winograd_conv2d_backward
from npstyle.lab import feedforward
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.engine_mutations import by_tiles, square_winograd, tiles
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.layer_mutations import (
    content,
    first,
    of_input,
    right_style,
    square_conv,
    style,
    wrong,
)
from npstyle.lab.mutations import MUTATIONS as SHOWN
from npstyle.lab.whole_mutations import FACTORS, objective, through_network, with_one_gradient
from npstyle.maths import (
    avg_pool2d_backward,
    content_loss_backward,
    conv2d_backward,
    conv2d_backward_weights,
    gram_backward,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    mean_gram,
    output_size,
    precondition,
    preprocess_backward,
    relu,
    relu_backward,
    replicate_pad_backward,
    style_loss,
    style_loss_backward,
    total_variation_backward,
)

MUTATIONS = {
    name: shown.build
    for name, shown in SHOWN.items()
    if CHAPTERS[shown.chapter].subjects.__module__ != feedforward.__name__
    and shown.chapter not in ("adam", "training")
}
"""Functions rng -> Subject whose backward function is wrong; first those that the atlas shows."""

IN_NETWORK = {}
"""The same, of a network: functions (rng, network) -> Subject."""


def mutation(function):
    MUTATIONS[function.__name__] = function
    return function


def network_mutation(function):
    IN_NETWORK[function.__name__] = function
    return function


@mutation
def conv_kernel_gradient_flipped(rng):
    return square_conv(
        rng, None, lambda g, x: conv2d_backward_weights(g, x, (3, 3), 1, 1)[0][::-1, ::-1]
    )


@mutation
def conv_kernel_gradient_channels_swapped(rng):
    return square_conv(
        rng,
        None,
        lambda g, x: conv2d_backward_weights(g, x, (3, 3), 1, 1)[0].transpose(0, 1, 3, 2),
    )


@mutation
def conv_kernel_gradient_without_the_border(rng):
    def to_kernel(g, x):
        inner = g.copy()
        inner[0] = 0
        return conv2d_backward_weights(inner, x, (3, 3), 1, 1)[0]

    return square_conv(rng, None, to_kernel)


@mutation
def conv_bias_gradient_missing_a_sum(rng):
    subject = first("conv2d", rng)
    right = subject.backward
    return replace(subject, backward=lambda g, x, k, b: (*right(g, x, k, b)[:2], g.sum(axis=0)[0]))


@mutation
def conv_stride_forgotten(rng):
    subject = first("conv2d", rng, 1)
    right = subject.backward

    def backward(g, x, k, b):
        dense = np.zeros((*output_size(x.shape, k.shape, 1, 1), g.shape[2]))
        dense[: g.shape[0], : g.shape[1]] = g  # not 2 apart
        return (conv2d_backward(dense, k, x.shape, 1, 1), *right(g, x, k, b)[1:])

    return replace(subject, backward=backward)


MUTATIONS |= {
    "relu_at_or_above_zero_of_its_output": wrong("relu", lambda g, z: g * (relu(z) >= 0)),
    "relu_mask_inverted": wrong("relu", lambda g, z: g * (z < 0)),
    "relu_leaks": wrong("relu", lambda g, z: g * np.where(z > 0, 1, 1e-2)),
    "avg_pool_factor_of_the_side": wrong(
        "avg_pool2d", lambda g, x: 2 * avg_pool2d_backward(g, x.shape, 2, 2)
    ),
    "avg_pool_shifted_by_one": wrong(
        "avg_pool2d", lambda g, x: np.roll(avg_pool2d_backward(g, x.shape, 2, 2), 1, axis=1)
    ),
    "avg_pool_overlap_counted_once": wrong(
        "avg_pool2d",
        lambda g, x: (
            np.minimum(np.abs(avg_pool2d_backward(g, x.shape, 3, 2)), np.abs(g).max() / 9)
            * np.sign(avg_pool2d_backward(g, x.shape, 3, 2))
        ),
        1,
    ),
    "avg_pool_window_and_stride_swapped": wrong(
        "avg_pool2d", lambda g, x: avg_pool2d_backward(g, x.shape, 2, 2), 1
    ),
    "gram_of_the_wrong_axis": wrong(
        "gram", lambda g, x: ((g + g.T) @ x.reshape(6, -1)).reshape(x.shape)
    ),
    "tv_sign_of_the_rows": wrong(
        "tv",
        lambda g, x: (
            g
            * (
                total_variation_backward(x)
                - 2 * total_variation_backward(x.transpose(1, 0, 2)).transpose(1, 0, 2) * 0.5
            )
        ),
    ),
    "precondition_transform_not_transposed": wrong(
        "precondition", lambda g, w: FACTORS * precondition(g, np.ones_like(FACTORS))
    ),
    "preprocess_scale_in_the_wrong_order": wrong(
        "preprocess", lambda g, x: preprocess_backward(g, "BGR", (2.0, 0.5, 1.0))
    ),
}


@mutation
def max_pool_gradient_to_every_position(rng):
    return replace(
        first("max_pool2d", rng), backward=lambda g, x: 4 * avg_pool2d_backward(g, x.shape, 2, 2)
    )


@mutation
def max_pool_gradient_to_the_smallest(rng):
    def backward(g, x):
        return max_pool2d_backward(g, -x, 2, 2)

    return replace(first("max_pool2d", rng), backward=backward)


@mutation
def max_pool_overlap_overwrites(rng):
    def backward(g, x):
        gradient = np.zeros_like(x)
        pooled = max_pool2d(x, 3, 2)
        for y, u, c in np.ndindex(pooled.shape):
            window = x[2 * y : 2 * y + 3, 2 * u : 2 * u + 3, c]
            i, j = np.unravel_index(np.argmax(window), (3, 3))
            gradient[2 * y + i, 2 * u + j, c] = g[y, u, c]
        return gradient

    subject = first("max_pool2d", rng, 1)
    x = subject.inputs[0]
    x[2, 2] = 9.0  # wins four windows
    return replace(subject, inputs=(x,), backward=backward)


def without_corners(g):
    inner = g.copy()
    inner[0, 0] = inner[0, -1] = inner[-1, 0] = inner[-1, -1] = 0
    return inner


def window_sums(g, x, size=2, stride=2):
    """Derivative of the sum of each window of x squared, divided by 2."""
    return size**2 * avg_pool2d_backward(g, x.shape, size, stride) * x


MUTATIONS |= {
    "l2_pool_mean_forgotten": wrong("l2_pool2d", lambda g, x: 4 * l2_pool2d_backward(g, x)),
    "l2_pool_position_forgotten": wrong(
        "l2_pool2d",
        lambda g, x: l2_pool2d_backward(g, x) / np.where(x == 0, 1, x),
    ),
    "l2_pool_sign_lost": wrong("l2_pool2d", lambda g, x: l2_pool2d_backward(g, np.abs(x))),
    "replicate_edges_swapped": wrong("replicate", lambda g, x: replicate_pad_backward(g[::-1], 1)),
    "gram_guide_forgotten": wrong("gram", lambda g, x: gram_backward(g, x), 1),
}


def guided(slope):
    """The style loss of max(z, 0) in a region, with its derivative at z under test."""

    def build(rng):
        A = mean_gram(relu(rng.standard_normal((3, 7, 3))))
        t = rng.uniform(0, 1, (4, 5))
        w = t**2 / np.sum(t**2)
        return of_input(
            lambda F: style_loss(F, A, w), lambda F: slope(F, mean_gram(F, w), A, w), rng
        )

    return build


MUTATIONS |= {
    "guide_forgotten": guided(lambda F, G, A, w: right_style(F, G, A)),
    "guide_not_squared": guided(
        lambda F, G, A, w: right_style(F, G, A, np.sqrt(w) / np.sqrt(w).sum())
    ),
    "guide_divided_by_the_positions_again": guided(
        lambda F, G, A, w: right_style(F, G, A, w) / w.size
    ),
    "guide_but_whole_gram_compared": guided(lambda F, G, A, w: right_style(F, mean_gram(F), A, w)),
    "content_mask_forgotten": content(lambda F, P: F - P),
    "content_half_lost": content(lambda F, P: 2 * (F - P) * (F > 0)),
    "style_channels_squared_lost": style(lambda F, G, A: 9 * right_style(F, G, A)),
    "style_channels_not_squared": style(lambda F, G, A: 3 * right_style(F, G, A)),
    "style_positions_lost": style(lambda F, G, A: 20 * right_style(F, G, A)),
    "style_mask_forgotten": style(lambda F, G, A: gram_backward((G - A) / (2 * 9 * 20), F)),
    "style_sign": style(lambda F, G, A: right_style(F, A, G)),
}


@network_mutation
def objective_without_its_first_layer(rng, network):
    return objective(network, rng, style_layers={"conv2_1": 1.0})


@network_mutation
def network_mask_of_one_layer_forgotten(rng, network):
    def spoil(outputs, gradients):
        outputs["relu1_2"] = np.ones_like(outputs["relu1_2"])

    return through_network(rng, network.layers, spoil)


@network_mutation
def network_middle_layer_added_twice(rng, network):
    def spoil(outputs, gradients):
        gradients["relu1_1"] *= 2

    return through_network(rng, network.layers, spoil)


@pytest.mark.parametrize("name", [*MUTATIONS, *IN_NETWORK])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_wrong_derivative_is_caught(small_network, name, seed):
    rng = np.random.default_rng(seed)
    found = MUTATIONS.get(name)
    subject = found(rng) if found else IN_NETWORK[name](rng, small_network)
    assert not check_subject(subject, samples=60, directions=5, seed=seed).passed


def test_the_subjects_are_right_without_their_mutation(small_network, rng):
    """A mutation must be caught for its change, and not for the subject that it changes."""
    for subject in (
        objective(small_network, rng),
        through_network(rng, small_network.layers, lambda outputs, gradients: None),
        square_winograd(winograd_conv2d_backward)(rng),
        tiles(by_tiles)(rng),
        content(lambda F, P: relu_backward(content_loss_backward(F, P), F))(rng),
        style(right_style)(rng),
        style(lambda F, G, A: relu_backward(style_loss_backward(F, A), F))(rng),
        guided(right_style)(rng),
        square_conv(rng),
    ):
        report = check_subject(subject)
        assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_right_derivatives_pass_with_200_seeds(chapter, seeds):
    # A loss of the training takes two networks and two photos: every fifth seed, unless all are
    # asked for.
    for seed in range(0, 200, 5 if chapter == "training" and seeds < 200 else 1):
        for subject in CHAPTERS[chapter].subjects(np.random.default_rng(seed)):
            inputs = len(subject.inputs)
            chosen = with_one_gradient(subject, seed % inputs) if inputs > 3 else subject
            report = check_subject(chosen, samples=10, directions=2, seed=seed)
            wrong_outcomes = [o for o in report.outcomes if not o.passed]
            assert not wrong_outcomes, (seed, subject.name, wrong_outcomes)
