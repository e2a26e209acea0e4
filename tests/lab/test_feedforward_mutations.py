"""Wrong derivatives of the chapters for networks that paint in one pass must all be caught."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle import maths
from npstyle.lab import feedforward
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.layer_mutations import EPSILON, depthwise, first, norm, normalized, wrong
from npstyle.lab.layer_mutations import MUTATIONS as SHOWN
from npstyle.maths.layers import run_layer_backward
from tests.lab.test_mutations import with_one_gradient


def over(axis):
    def backward(g, x, a):
        s = np.sqrt(x.var(axis=axis, keepdims=True) + EPSILON)
        n, h = (x - x.mean(axis=axis, keepdims=True)) / s, a * g
        return (
            h - h.mean(axis=axis, keepdims=True) - n * (h * n).mean(axis=axis, keepdims=True)
        ) / s

    return backward


def unbiased(g, x, a):
    n, s = normalized(x)
    M = x.shape[0] * x.shape[1]
    h = a * g
    return (h - h.mean(axis=(0, 1)) - n * (h * n).sum(axis=(0, 1)) / (M - 1)) / s


def shifted_stride(g, K, shape):
    """The derivative as if the window moved in steps of 1."""
    dense = np.zeros((*maths.output_size(shape, K.shape, 1, 1), g.shape[2]))
    dense[: g.shape[0], : g.shape[1]] = g
    return maths.depthwise_conv2d_backward(dense, K, shape, 1, 1)


def one_channel_for_all(g, x, size):
    found = maths.depthwise_conv2d_backward_weights(g, x, size, 1, 1)[0]
    return np.broadcast_to(found.mean(axis=2, keepdims=True), found.shape).copy()


def symmetric(g, x):
    """The edges repeated, as in NumPy's mode "symmetric"."""
    places = np.pad(np.arange(x.shape[0]), 1, "symmetric")
    columns = np.pad(np.arange(x.shape[1]), 1, "symmetric")
    gradient = np.zeros_like(x)
    np.add.at(gradient, (places[:, None], columns), g)
    return gradient


PHOTO, CODE, SCALE_WEIGHTS = 0, 1, 2 + feedforward.PAINTER_ARRAYS.index(("norm1", "scale_weights"))
"""Inputs of the small painter."""


def painter(at=None, spoil=None, code=None, maps=None):
    """The small painter with a wrong gradient at an output, at the code or at the maps.

    The gradient of its input `at` is under test, by default those of all.
    """

    def build(rng):
        layers = feedforward.small_painter(rng)
        subject = feedforward.painter_subject("painter", layers, feedforward.PAINTER_ARRAYS, rng)
        names = [layer.name for layer in layers]

        def backward(g, x, c, *arrays):
            changed = feedforward.with_arrays(layers, feedforward.PAINTER_ARRAYS, arrays)
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
                        factor = spoil if spoil is not None else 1
                        arriving["relu1"] = arriving[layer.name] * factor
            found = maths.backward_weights(plain, outputs, arriving)
            at_code, at_maps = maths.conditioned_backward(changed, c, found)
            at_code = code(changed, found) if code else at_code
            found |= maps(at_maps) if maps else at_maps
            return arriving["image"], at_code, *(found[a][b] for a, b in feedforward.PAINTER_ARRAYS)

        subject = replace(subject, backward=backward)
        return subject if at is None else with_one_gradient(subject, at)

    return build


def of_the_scales_only(layers, found):
    return sum(
        layer.scale_weights.T @ found[layer.name]["scale"]
        for layer in layers
        if layer.name.startswith("norm")
    )


def of_the_last_norm_only(layers, found):
    layer = next(layer for layer in layers if layer.name == "norm2")
    at_a, at_b = found["norm2"]["scale"], found["norm2"]["shift"]
    return layer.scale_weights.T @ at_a + layer.shift_weights.T @ at_b


def code_forgotten(maps):
    return {
        layer: {
            name: array if array.ndim == 1 else np.repeat(array.sum(axis=1)[:, None], 2, axis=1)
            for name, array in arrays.items()
        }
        for layer, arrays in maps.items()
    }


def scales_and_shifts_swapped(maps):
    swapped = {"scale": "shift", "shift": "scale"}
    return {
        layer: {name: arrays[f"{swapped[name[:5]]}{name[5:]}"] for name in arrays}
        for layer, arrays in maps.items()
    }


MUTATIONS = {
    name: shown.build
    for name, shown in SHOWN.items()
    if CHAPTERS[shown.chapter].subjects.__module__ == feedforward.__name__
} | {
    "reflect_edges_repeated": wrong("reflect", symmetric),
    "reflect_like_replicate": wrong("reflect", lambda g, x: maths.replicate_pad_backward(g, 1)),
    "reflect_border_dropped": wrong("reflect", lambda g, x: g[1:-1, 1:-1].copy()),
    "reflect_flipped": wrong("reflect", lambda g, x: maths.reflect_pad_backward(g[::-1], 1)),
    "zero_sides_swapped": wrong("zero", lambda g, x: maths.zero_pad_backward(g, 1, 0), 2),
    "depthwise_stride_forgotten": depthwise(shifted_stride, k=1),
    "depthwise_kernel_gradient_shared": depthwise(to_kernel=one_channel_for_all),
    "depthwise_kernel_gradient_flipped": depthwise(
        to_kernel=lambda g, x, size: maths.depthwise_conv2d_backward_weights(g, x, size, 1, 1)[0][
            ::-1
        ]
    ),
    "relu6_without_its_upper_bound": wrong("relu6", lambda g, z: g * (z > 0)),
    "relu6_without_its_lower_bound": wrong("relu6", lambda g, z: g * (z < 6)),
    "relu6_bounded_at_1": wrong("relu6", lambda g, z: g * ((z > 0) & (z < 1))),
    "relu6_mask_of_the_upstream_gradient": wrong("relu6", lambda g, z: g * ((g > 0) & (z < 6))),
    "global_pool_factor_lost": wrong(
        "global_avg_pool", lambda g, x: 20 * maths.global_avg_pool_backward(g, x.shape)
    ),
    "global_pool_factor_of_one_side": wrong(
        "global_avg_pool", lambda g, x: 5 * maths.global_avg_pool_backward(g, x.shape)
    ),
    "norm_neither_differentiated": norm(lambda g, x, a: a * g / normalized(x)[1]),
    "norm_variance_over_rows": norm(over((1,))),
    "norm_variance_over_columns": norm(over((0,))),
    "norm_variance_over_channels_too": norm(over((0, 1, 2))),
    "norm_variance_of_a_sample": norm(unbiased),
    "norm_epsilon_forgotten": norm(lambda g, x, a: maths.instance_norm_backward(g, x, a, 0.0), k=1),
    "norm_scale_forgotten": norm(
        lambda g, x, a: maths.instance_norm_backward(g, x, np.ones_like(a), EPSILON)
    ),
    "norm_root_forgotten": norm(
        lambda g, x, a: maths.instance_norm_backward(g, x, a, EPSILON) / normalized(x)[1]
    ),
    "norm_scale_gradient_not_normalised": norm(
        to_weights=lambda g, x: ((g * x).sum(axis=(0, 1)), g.sum(axis=(0, 1)))
    ),
    "norm_shift_gradient_is_a_mean": norm(
        to_weights=lambda g, x: ((g * normalized(x)[0]).sum(axis=(0, 1)), g.mean(axis=(0, 1)))
    ),
    "upsample_block_shifted": wrong(
        "upsample", lambda g, x: maths.upsample_backward(np.roll(g, 1, axis=1), 2)
    ),
    "upsample_rows_only": wrong("upsample", lambda g, x: (g[::2] + g[1::2])[:, ::2].copy()),
    "sigmoid_factor_lost": wrong("sigmoid", lambda g, z: g * maths.sigmoid(z)),
    "sigmoid_of_tanh": wrong("sigmoid", lambda g, z: g * (1 - np.tanh(z / 2) ** 2) / 2),
    "residual_skip_forgotten": painter(PHOTO, spoil=0),
    "residual_skip_twice": painter(PHOTO, spoil=2),
    "code_gradient_of_the_scales_only": painter(CODE, code=of_the_scales_only),
    "code_gradient_of_one_layer": painter(CODE, code=of_the_last_norm_only),
    "map_gradient_without_the_code": painter(SCALE_WEIGHTS, maps=code_forgotten),
    "map_gradients_swapped": painter(SCALE_WEIGHTS, maps=scales_and_shifts_swapped),
}


def test_there_are_41_mutations():
    assert len(MUTATIONS) == 41


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_wrong_derivative_is_caught(name, seed):
    subject = MUTATIONS[name](np.random.default_rng(seed))
    assert not check_subject(subject, samples=30, directions=5, seed=seed).passed


def test_the_subjects_are_right_without_their_mutation(rng):
    for build in (norm(), norm(k=1), depthwise(), depthwise(k=1), painter()):
        report = check_subject(build(rng), samples=30)
        assert report.passed, report


def test_every_chapter_of_these_networks_has_mutations():
    of_networks = {
        name
        for name, chapter in CHAPTERS.items()
        if chapter.subjects.__module__ == feedforward.__name__
    }
    named = {
        "reflect": "reflect",
        "depthwise": "depthwise",
        "relu6": "relu6",
        "global_avg_pool": "global_pool",
        "instance_norm": "norm",
        "upsample": "upsample",
        "sigmoid": "sigmoid",
        "conditional": "code",
    }
    assert of_networks == set(named)
    for start in named.values():
        assert any(name.startswith(start) for name in MUTATIONS)


def test_the_first_subject_is_the_one_that_is_varied(rng):
    assert first("upsample", rng).name == "upsample x2"
