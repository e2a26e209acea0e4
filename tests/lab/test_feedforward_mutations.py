"""Wrong derivatives of the chapters for networks that paint in one pass must all be caught."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.lab import feedforward
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.layer_mutations import EPSILON, depthwise, first, norm, normalized, wrong
from npstyle.lab.mutations import MUTATIONS as SHOWN
from npstyle.lab.whole_mutations import PHOTO, painter


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


SCALE_WEIGHTS = 2 + feedforward.PAINTER_ARRAYS.index(("norm1", "scale_weights"))
"""An input of the small painter, behind photo and code."""


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
    "sigmoid_of_tanh": wrong("sigmoid", lambda g, z: g * (1 - np.tanh(z / 2) ** 2) / 2),
    "residual_skip_twice": painter(PHOTO, skip=2),
    "map_gradient_without_the_code": painter(SCALE_WEIGHTS, maps=code_forgotten),
    "map_gradients_swapped": painter(SCALE_WEIGHTS, maps=scales_and_shifts_swapped),
}


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
