"""Bound layers give the outputs and gradients of the textbook, in float64 to rounding."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine.feedforward.bind import FramedConv, bind_layers
from npstyle.engine.feedforward.passes import backward, backward_norms, forward, paint
from npstyle.engine.threads import use_threads
from npstyle.lab.feedforward import small_painter
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)
from tests.numeric import relative_error


def wide_painter(rng):
    """Wide enough for Winograd's algorithm, with an upsampling that joins its convolution."""

    def conv(name, channels, filters, size=3, stride=1):
        kernel = rng.standard_normal((size, size, channels, filters)) / (size * channels**0.5)
        return Conv(name, kernel, rng.standard_normal(filters), stride, size // 2, "reflect")

    def norm(name, channels):
        return InstanceNorm(name, rng.standard_normal(channels), rng.standard_normal(channels))

    return [
        conv("conv1", 3, 16, 5, 2),
        norm("norm1", 16),
        Relu("relu1"),
        conv("conv2", 16, 16),
        Relu("relu2"),
        conv("conv3", 16, 16),
        norm("norm3", 16),
        Add("add1", "relu1"),
        conv("conv4", 16, 16),
        norm("norm4", 16),
        Add("add2", "add1"),
        Add("add3", "relu1"),
        Upsample("up1", 2),
        conv("conv5", 16, 16),
        norm("norm5", 16),
        Relu("relu5"),
        conv("conv6", 16, 3, 5),
        Sigmoid("sigmoid"),
    ]


def predictor(rng):
    return [
        Pad("pad", 0, 1),
        Conv("conv1", rng.standard_normal((3, 3, 3, 6)), rng.standard_normal(6), 2),
        Relu6("relu1"),
        DepthwiseConv("conv2", rng.standard_normal((3, 3, 6)), rng.standard_normal(6), 1, 1),
        Relu6("relu2"),
        Conv("conv3", rng.standard_normal((1, 1, 6, 6)), rng.standard_normal(6)),
        Add("add", "relu1"),
        GlobalPool("mean"),
        Conv("conv4", rng.standard_normal((1, 1, 6, 4)), rng.standard_normal(4)),
    ]


def expected(layers, x, g):
    """Output, gradient at the image, and gradients of all weights by the textbook."""
    outputs = maths.forward(layers, x)
    arriving = maths.backward_everywhere(layers, outputs, {layers[-1].name: g})
    weights = maths.backward_weights(layers, outputs, arriving)
    return outputs[layers[-1].name], arriving["image"], weights


def assert_equal_weights(found, right, bound=1e-11):
    assert set(found) == set(right)
    for layer, arrays in right.items():
        for name, array in arrays.items():
            size = max(1, np.linalg.norm(array))
            assert np.linalg.norm(found[layer][name] - array) <= bound * size, (layer, name)


@pytest.mark.parametrize("build", [wide_painter, predictor])
@pytest.mark.parametrize("fast", [True, False])
def test_outputs_and_gradients_are_the_textbooks(rng, build, fast):
    layers, x = build(rng), rng.standard_normal((14, 18, 3))
    bound = bind_layers(layers, dtype=np.float64, fast=fast)
    Y, cache = forward(bound, x, with_kernels=True)
    g = rng.standard_normal(Y.shape)
    right, at_image, weights = expected(layers, x, g)
    assert relative_error(paint(bound, x), right) <= 1e-13
    assert relative_error(Y, right) <= 1e-13
    gradient, found = backward(bound, cache, g.copy())
    assert relative_error(gradient, at_image) <= 1e-12
    assert_equal_weights(found, weights)


def test_without_the_gradients_of_kernels_the_others_are_the_same(rng):
    layers, x = wide_painter(rng), rng.standard_normal((14, 18, 3))
    bound = bind_layers(layers, dtype=np.float64)
    Y, cache = forward(bound, x)
    g = rng.standard_normal(Y.shape)
    _, at_image, weights = expected(layers, x, g)
    gradient, found = backward(bound, cache, g.copy())
    assert relative_error(gradient, at_image) <= 1e-12
    assert_equal_weights(found, {n: w for n, w in weights.items() if n.startswith("norm")})


def test_the_gradients_of_the_normalisations_alone_are_the_same(rng):
    layers, x = wide_painter(rng), rng.standard_normal((14, 18, 3))
    bound = bind_layers(layers, dtype=np.float64)
    Y, cache = forward(bound, x)
    g = rng.standard_normal(Y.shape)
    found = backward_norms(bound, cache, g.copy())
    _, both = backward(bound, forward(bound, x)[1], g.copy())
    assert found.keys() == both.keys()
    assert all(np.array_equal(found[n][name], both[n][name]) for n in both for name in both[n])
    with pytest.raises(ValueError, match="used once"):
        backward_norms(bound, cache, g)


def test_conditional_normalisations_take_those_of_the_style(rng):
    layers, code, x = small_painter(rng), rng.standard_normal(2), rng.standard_normal((8, 12, 3))
    plain = maths.conditioned(layers, code)
    norms = {layer.name: layer for layer in plain if isinstance(layer, InstanceNorm)}
    bound = bind_layers(layers, dtype=np.float64)
    Y, cache = forward(bound, x, norms, with_kernels=True)
    g = rng.standard_normal(Y.shape)
    right, at_image, weights = expected(plain, x, g)
    assert relative_error(Y, right) <= 1e-13
    gradient, found = backward(bound, cache, g.copy(), norms)
    assert relative_error(gradient, at_image) <= 1e-12
    assert_equal_weights(found, weights)


def test_the_image_is_not_changed_and_the_number_of_threads_does_not_matter(rng):
    layers, x = wide_painter(rng), rng.standard_normal((40, 36, 3)).astype(np.float32)
    bound, kept = bind_layers(layers), x.copy()
    one = paint(bound, x)
    with use_threads(3):
        several = paint(bound, x)
    assert np.array_equal(one, several)
    assert np.array_equal(x, kept)
    assert one.dtype == np.float32


def test_wide_convolutions_take_the_fast_route_and_the_upsampling_joins_one(rng):
    bound = bind_layers(wide_painter(rng))
    framed = {layer.name: layer.phases for layer in bound.layers if isinstance(layer, FramedConv)}
    assert framed == {"conv2": 1, "conv3": 1, "conv4": 1, "conv5": 2}
    assert "up1" not in [layer.name for layer in bound.layers]


def test_a_cache_can_be_used_once(rng):
    layers, x = wide_painter(rng), rng.standard_normal((14, 18, 3))
    bound = bind_layers(layers, dtype=np.float64)
    Y, cache = forward(bound, x)
    backward(bound, cache, Y)
    with pytest.raises(ValueError, match="used once"):
        backward(bound, cache, Y)


def test_both_engines_on_the_cpu_agree_in_float32(rng, cpu_engine):
    layers, x = wide_painter(rng), rng.standard_normal((14, 18, 3))
    bound = bind_layers(layers, engine=cpu_engine)
    Y, cache = forward(bound, x.astype(np.float32))
    g = rng.standard_normal(Y.shape)
    right, at_image, _ = expected(layers, x, g)
    gradient, _ = backward(bound, cache, g.astype(np.float32))
    assert relative_error(Y, right) <= 1e-5
    assert relative_error(gradient, at_image) <= 1e-4


def test_compiled_loops_are_for_float32(rng):
    compiled = pytest.importorskip("npstyle.engine.cpu.compiled")
    with pytest.raises(ValueError, match="are for float32"):
        bind_layers(wide_painter(rng), engine=compiled, dtype=np.float64)
