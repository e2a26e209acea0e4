"""The kernels of networks that paint in one pass, run on the CPU, agree with the textbook.

The tolerances are those of test_shim.py: 1e-12 in float64, and 1e-6 of the largest value in
float32.
"""

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine.cuda import launch as cuda
from tests.engine.cuda import shim
from tests.engine.cuda.shim import Out, run

pytestmark = pytest.mark.skipif(shim.GXX is None, reason=shim.REASON)

typed = pytest.mark.parametrize("dtype", ["float32", "float64"])


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def exact(array):
    return array.astype(np.float64)


def close(found, expected, dtype):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-30)


# ------------------------------------------------------------------------- pad, pointwise


@typed
@pytest.mark.parametrize(
    ("shape", "padding"), [((5, 7, 3), 1), ((4, 5, 2), 3), ((2, 130, 3), 1), ((3, 4, 1), 0)]
)
def test_reflect_padding(rng, dtype, shape, padding):
    image = draw(rng, shape, dtype)
    expected = maths.reflect_pad(image, padding)
    height, width, channels = expected.shape
    launch = cuda.rows(f"reflect_{dtype}", height, width * channels)
    assert np.array_equal(run(launch, image, Out(expected.shape, dtype), *shape, padding), expected)
    upstream = draw(rng, expected.shape, dtype)
    launch = cuda.rows(f"reflect_backward_{dtype}", shape[0], shape[1] * shape[2])
    found = run(launch, upstream, Out(shape, dtype), *shape, padding)
    close(found, maths.reflect_pad_backward(exact(upstream), padding), dtype)


def pointwise(name, *given):
    launch = cuda.elementwise(f"{name}_{given[0].dtype.name}", given[0].size)
    return run(launch, *given, Out(given[0].shape, given[0].dtype), given[0].size)


@typed
def test_sums_relu6_and_its_derivative(rng, dtype):
    z, g = 5 * draw(rng, (7, 5, 11), dtype), draw(rng, (7, 5, 11), dtype)
    z[0, 0, :6] = 0, -0.0, 6, np.nan, np.inf, -np.inf
    assert np.array_equal(pointwise("add", z, g), z + g, equal_nan=True)
    F = pointwise("relu6", z)
    assert np.array_equal(F, maths.relu6(z), equal_nan=True)
    assert np.array_equal(pointwise("relu6_backward", g, F), maths.relu6_backward(g, F))


@typed
def test_the_sigmoid_and_its_derivative(rng, dtype):
    z, g = 3 * draw(rng, (7, 5, 11), dtype), draw(rng, (7, 5, 11), dtype)
    z[0, 0, :2] = 1e4, -1e4
    Y = pointwise("sigmoid", z)
    close(Y, maths.sigmoid(exact(z)), dtype)
    close(pointwise("sigmoid_backward", g, Y), maths.sigmoid_backward(exact(g), exact(Y)), dtype)


@typed
def test_pointwise_kernels_overwrite_an_input(rng, dtype):
    x, s = draw(rng, 600, dtype), draw(rng, 600, dtype)
    for name, given, expected in [("add", (x, s), x + s), ("relu6", (x,), maths.relu6(x))]:
        launch, buffer = cuda.elementwise(f"{name}_{dtype}", 600), shim.Guarded(x)
        others = map(shim.Guarded, given[1:])
        shim.launch_raw(shim.library("pointwise"), launch, [buffer, *others, buffer, 600])
        assert np.array_equal(buffer.values, expected)


# ------------------------------------------------------------------------- depthwise convolution


@typed
@pytest.mark.parametrize("way", [((3, 3), 1, 1), ((3, 2), 2, 1), ((5, 5), 3, 0), ((1, 1), 2, 2)])
@pytest.mark.parametrize("shape", [(7, 6, 3), (5, 9, 130)])
def test_depthwise_convolution_and_its_derivative(rng, dtype, way, shape):
    size, stride, padding = way
    image, kernel = draw(rng, shape, dtype), draw(rng, (*size, shape[2]), dtype)
    bias = draw(rng, shape[2], dtype)
    Z = maths.depthwise_conv2d(exact(image), exact(kernel), exact(bias), stride, padding)
    geometry = (*shape, *size, stride, padding, *Z.shape[:2])
    launch = cuda.rows(f"depthwise_conv2d_{dtype}", Z.shape[0], Z.shape[1] * shape[2])
    close(run(launch, image, kernel, bias, Out(Z.shape, dtype), *geometry), Z, dtype)
    g = draw(rng, Z.shape, dtype)
    launch = cuda.rows(f"depthwise_conv2d_backward_{dtype}", shape[0], shape[1] * shape[2])
    found = run(launch, g, kernel, Out(shape, dtype), *geometry)
    expected = maths.depthwise_conv2d_backward(exact(g), exact(kernel), shape, stride, padding)
    close(found, expected, dtype)


# ------------------------------------------------------------------------- sums, normalisation


def sums(kernel, arrays, shape, factor=1.0):
    """The sums of a kernel's terms for each channel."""
    positions, channels = shape[0] * shape[1], shape[2]
    launch = cuda.channel_sums(kernel, positions, channels)
    blocks = launch.grid[0]
    partial = run(launch, *arrays, Out((channels, blocks), np.float64), positions, channels)
    totals = cuda.channel_totals(channels)
    return run(totals, partial, Out(channels, np.float64), blocks, factor)


@typed
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (40, 60, 3), (9, 31, 32), (3, 5, 600)])
def test_sums_over_positions(rng, dtype, shape):
    x, g = draw(rng, shape, dtype) + np.dtype(dtype).type(30), draw(rng, shape, dtype)
    m = exact(x).mean(axis=(0, 1))
    n = exact(x) - m
    for name, arrays, terms in [
        ("sums", (x,), exact(x)),
        ("squares", (x, m), n**2),
        ("products", (g, x, m), exact(g) * n),
        ("products", (g, x, None), exact(g) * exact(x)),
    ]:
        found = sums(f"channel_{name}_{dtype}", arrays, shape, 0.5)
        assert np.allclose(found, terms.sum(axis=(0, 1)) / 2, rtol=1e-12, atol=1e-11)


def test_the_number_of_partial_sums_is_bounded(rng):
    for positions, channels in [(10**7, 3), (10**7, 64), (10**6, 1000)]:
        launch = cuda.channel_sums("channel_sums_float32", positions, channels)
        assert launch.grid[0] == cuda.REDUCTION_BLOCKS
        assert launch.grid[1] * cuda.BLOCK >= channels


@typed
@pytest.mark.parametrize("rectify", [0, 1])
@pytest.mark.parametrize("shape", [(5, 7, 3), (4, 9, 130)])
def test_instance_normalisation_and_its_derivative(rng, dtype, rectify, shape):
    x, g = draw(rng, shape, dtype), draw(rng, shape, dtype)
    scale, shift = draw(rng, shape[2], dtype), draw(rng, shape[2], dtype)
    m = exact(x).mean(axis=(0, 1))
    inverse = 1 / np.sqrt(exact(x).var(axis=(0, 1)) + 1e-3)
    launch = cuda.rows(f"instance_norm_{dtype}", shape[0], shape[1] * shape[2])
    given = x, m, inverse, scale, shift
    found = run(launch, *given, Out(shape, dtype), *shape[1:], rectify)
    Y = maths.instance_norm(exact(x), exact(scale), exact(shift), 1e-3)
    close(found, maths.relu(Y) if rectify else Y, dtype)
    B, A = maths.instance_norm_backward_weights(exact(g), exact(x), 1e-3)
    launch = cuda.rows(f"instance_norm_backward_{dtype}", shape[0], shape[1] * shape[2])
    found = run(launch, g, x, m, inverse, scale, A, B, Out(shape, dtype), *shape)
    close(found, maths.instance_norm_backward(exact(g), exact(x), exact(scale), 1e-3), dtype)


def test_a_normalisation_with_its_relu_keeps_nan(rng):
    x = draw(rng, (2, 3, 2), "float64")
    x[1, 2, 0] = np.nan
    launch = cuda.rows("instance_norm_float64", 2, 6)
    ones = np.ones(2)
    found = run(launch, x, 0 * ones, ones, ones, 0 * ones, Out(x.shape, "float64"), 3, 2, 1)
    assert np.array_equal(found, maths.relu(x), equal_nan=True)
