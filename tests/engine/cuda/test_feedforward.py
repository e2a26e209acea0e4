"""Networks that paint in one pass give the same pictures and gradients on a GPU as on the CPU."""

from functools import partial

import numpy as np
import pytest

from npstyle.engine import cpu, cuda
from npstyle.engine.feedforward.bind import FramedConv, bind_layers
from npstyle.engine.feedforward.memory import paint_bytes
from npstyle.engine.feedforward.passes import backward, forward, paint
from npstyle.lab.feedforward import small_painter
from npstyle.maths.conditional import ConditionalNorm, conditioned
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    InstanceNorm,
    Relu,
    Sigmoid,
    Upsample,
)
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import bind_style_network, paint_backward
from npstyle.onepass.stylize import paint as paint_photo
from tests.engine.cuda.gpus import CUPY, needed
from tests.engine.cuda.test_memory import peak_bytes
from tests.engine.feedforward.test_passes import assert_equal_weights, predictor, wide_painter
from tests.numeric import relative_error

pytestmark = needed


def passes(engine, layers, x, g, norms=None, dtype=np.float64, fast=True):
    """Picture, picture with its cache, gradient at the photo, gradients at scales and shifts."""
    bound = bind_layers(layers, engine=engine, dtype=dtype, fast=fast)
    image, upstream = engine.place(x.astype(dtype)), engine.place(g.astype(dtype))
    picture = engine.to_host(paint(bound, image, norms))
    Y, cache = forward(bound, image, norms)
    gradient, found = backward(bound, cache, upstream, norms)
    assert np.array_equal(engine.to_host(image), x.astype(dtype))
    weights = [engine.to_host(array) for arrays in found.values() for array in arrays.values()]
    together = np.concatenate([np.zeros(0), *weights])
    return picture, engine.to_host(Y), engine.to_host(gradient), together


def assert_close(found, expected, tolerance):
    for ours, right in zip(found, expected, strict=True):
        assert ours.shape == right.shape
        assert np.linalg.norm(ours - right) <= tolerance * np.linalg.norm(right)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-4)])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("build", "shape"), [(wide_painter, (14, 18, 3)), (predictor, (1, 1, 4))])
def test_pictures_and_gradients_are_those_of_the_cpu(rng, build, shape, fast, dtype, tolerance):
    layers, x, g = build(rng), rng.standard_normal((14, 18, 3)), rng.standard_normal(shape)
    expected = passes(cpu, layers, x, g)
    found = passes(cuda, layers, x, g, dtype=dtype, fast=fast)
    assert_close(found, expected, tolerance)


def test_conditional_normalisations_may_lie_on_the_host(rng):
    layers, x = small_painter(rng, 16), rng.standard_normal((8, 12, 3))
    plain = conditioned(layers, rng.standard_normal(2))
    norms = {layer.name: layer for layer in plain if isinstance(layer, InstanceNorm)}
    g = rng.standard_normal((9, 13, 3))
    expected, found = (passes(engine, layers, x, g, norms) for engine in (cpu, cuda))
    assert_close(found, expected, 1e-11)


def residual_painter(rng):
    """Conditional normalisations for one style, a residual block, an upsampling, nine taps."""

    def conv(name, channels, filters, size=3, stride=1):
        kernel = rng.standard_normal((size, size, channels, filters)) / (size * channels**0.5)
        return Conv(name, kernel, rng.standard_normal(filters), stride, size // 2, "reflect")

    def norm(name, width):
        A, B = rng.standard_normal((2, width, 2))
        return ConditionalNorm(name, A, rng.standard_normal(width), B, rng.standard_normal(width))

    return [
        conv("conv1", 3, 16, 9),
        norm("norm1", 16),
        Relu("relu1"),
        conv("conv2", 16, 24, 3, 2),
        norm("norm2", 24),
        Relu("relu2"),
        conv("residual1", 24, 24),
        norm("norm3", 24),
        Relu("relu3"),
        conv("residual2", 24, 24),
        norm("norm4", 24),
        Add("add", "relu2"),
        Upsample("upsample", 2),
        conv("conv3", 24, 16),
        norm("norm5", 16),
        Relu("relu5"),
        conv("conv4", 16, 3, 9),
        Sigmoid("sigmoid"),
    ]


def weight_gradients(engine, layers, norms, x, g, dtype, fast):
    """Gradient at the photo and at every array of the network, on the host."""
    bound = bind_layers(layers, engine=engine, dtype=dtype, fast=fast)
    _, cache = forward(bound, engine.place(x.astype(dtype)), norms, with_kernels=True)
    gradient, found = backward(bound, cache, engine.place(g.astype(dtype)), norms)
    on_host = {
        layer: {name: engine.to_host(array) for name, array in arrays.items()}
        for layer, arrays in found.items()
    }
    return engine.to_host(gradient), on_host


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-4)])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("build", [residual_painter, partial(small_painter, width=16), predictor])
def test_the_gradients_of_kernels_are_those_of_the_cpu(rng, build, fast, dtype, tolerance):
    layers, x = build(rng), rng.standard_normal((16, 18, 3))
    plain = conditioned(layers, rng.standard_normal(2))
    norms = {layer.name: layer for layer in plain if isinstance(layer, InstanceNorm)}
    bound = bind_layers(layers, dtype=np.float64)
    g = rng.standard_normal(paint(bound, x, norms).shape)
    expected, right = weight_gradients(cpu, layers, norms, x, g, np.float64, fast)
    gradient, found = weight_gradients(cuda, layers, norms, x, g, dtype, fast)
    assert relative_error(gradient, expected) <= tolerance
    kernels = {layer.name for layer in layers if isinstance(layer, Conv | DepthwiseConv)}
    assert kernels == {name for name, arrays in found.items() if set(arrays) == {"kernel", "bias"}}
    assert_equal_weights(found, right, tolerance)
    for layer in layers:
        if layer.name in kernels:
            assert found[layer.name]["kernel"].shape == layer.kernel.shape
            assert found[layer.name]["kernel"].dtype == found[layer.name]["bias"].dtype == dtype


def test_wide_convolutions_take_the_fast_route_in_float32_only(rng):
    layers = wide_painter(rng)
    for dtype, count in [(np.float32, 4), (np.float64, 0)]:
        bound = bind_layers(layers, engine=cuda, dtype=dtype)
        assert sum(isinstance(layer, FramedConv) for layer in bound.layers) == count
        assert bound.engine is cuda


@pytest.fixture(scope="module")
def any_style():
    return load_named("any_style")


def test_the_shipped_network_paints_the_same_as_on_the_cpu(rng, any_style):
    photo, upstream = rng.uniform(0, 255, (18, 17, 3)), rng.standard_normal((18, 17, 3))
    code = rng.standard_normal(100) / 10
    on_cpu, on_gpu = (bind_style_network(any_style, engine=engine) for engine in (cpu, cuda))
    picture, gradient = paint_backward(on_gpu, upstream, photo, code)
    expected, right = paint_backward(on_cpu, upstream, photo, code)
    assert np.abs(picture - expected).max() <= 1e-3
    assert np.abs(paint_photo(on_gpu, photo, code) - expected).max() <= 1e-3
    assert relative_error(gradient.photo, right.photo) <= 1e-4
    assert relative_error(gradient.code, right.code) <= 1e-4


def test_the_shipped_network_reads_the_same_code_as_on_the_cpu(rng, any_style):
    image = rng.uniform(0, 255, (32, 35, 3))
    codes = []
    for engine in (cpu, cuda):
        bound = bind_style_network(any_style, engine=engine)
        codes.append(engine.to_host(paint(bound.predictor, bound.preprocess(image))))
    assert relative_error(*codes) <= 1e-5


@pytest.mark.skipif(CUPY is not None, reason="only the stand-in counts its memory")
@pytest.mark.parametrize("name", ["any_style", "multistyle26"])
def test_the_predicted_memory_is_that_of_the_arrays(rng, name):
    bound = bind_style_network(load_named(name), engine=cuda)
    image = cuda.place(rng.uniform(0, 1, (29, 38, 3)).astype(np.float32))
    norms = bound.norms(np.full(bound.network.code, 1 / bound.network.code))
    measured = peak_bytes(lambda: paint(bound.transformer, image, norms))
    # The sums over positions are not counted.
    assert measured <= 1.01 * paint_bytes(bound.transformer, 29, 38) <= 1.2 * measured
