"""The CUDA kernels that work value by value, and the sums, run on the CPU against NumPy.

float64 is held to 1e-12. float32 is held to 1e-6 of the largest value where a kernel adds or
multiplies a few numbers: a few roundings of 6e-8 each, in another order or contracted to another
result than NumPy's. What only moves or compares numbers must be equal.
"""

from itertools import product

import numpy as np
import pytest

from npstyle.engine.cpu import losses, relu
from npstyle.engine.cpu import padding as pad
from npstyle.engine.cpu import pooling as pool
from npstyle.engine.cuda import launch as cuda
from npstyle.engine.cuda.launch import Launch
from npstyle.engine.cpu.preprocessing import preprocess, preprocess_backward
from tests.engine.cuda import shim
from tests.engine.cuda.shim import Out, run

pytestmark = pytest.mark.skipif(shim.GXX is None, reason=shim.REASON)

DTYPES = ["float32", "float64"]
typed = pytest.mark.parametrize("dtype", DTYPES)


def close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    tolerance = 1e-6 if found.dtype == np.float32 else 1e-12
    assert np.max(np.abs(found - expected)) <= tolerance * max(np.max(np.abs(expected)), 1e-30)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------- the shim itself


FAULTS = r"""
extern "C" __global__ void neighbours(float* out, int barrier) {
    __shared__ float values[64];
    values[threadIdx.x] = threadIdx.x;
    if (barrier) __syncthreads();
    out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}
extern "C" __global__ void leaves(float* out) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void writes(float* out, int k) { out[threadIdx.x + k] = 1; }
extern "C" __global__ void reads(const float* from, float* out, int k) {
    float value = from[threadIdx.x + k];
    out[threadIdx.x] = value == 0.5f ? 1 : 0;
}
extern "C" __global__ void copies(const float* from, float* out, int wait) {
    __shared__ float values[4];
    shim::copy_async(values, from, 16);
    shim::commit_copies();
    shim::wait_for_copies(wait);
    for (int k = 0; k < 4; ++k) out[k] = values[k];
}
"""


@pytest.fixture(scope="module")
def faults():
    return shim.compiled("faults", FAULTS, ["neighbours", "leaves", "writes", "reads", "copies"])


def test_the_shim_sees_a_missing_barrier(faults):
    launch = Launch("neighbours", (2, 1, 1), (64, 1, 1))
    out = run(launch, Out(64), 1, binary=faults)
    assert np.array_equal(out, (np.arange(64) + 1) % 64)
    with pytest.raises(AssertionError, match="order of threads"):
        run(launch, Out(64), 0, binary=faults)


def test_the_shim_sees_a_thread_that_leaves_before_a_barrier(faults):
    with pytest.raises(AssertionError, match="a thread left"):
        run(Launch("leaves", (1, 1, 1), (64, 1, 1)), Out(64), binary=faults)


@pytest.mark.parametrize("k", [-1, 1, 5])
def test_the_shim_sees_what_is_outside_an_array(faults, k):
    shape = (1, 1, 1), (64, 1, 1)
    with pytest.raises(AssertionError, match="outside"):
        run(Launch("writes", *shape), Out(64), k, binary=faults)
    with pytest.raises(AssertionError, match="outside"):
        run(Launch("reads", *shape), np.zeros(64, np.float32), Out(64), k, binary=faults)
    assert not run(
        Launch("reads", *shape), np.zeros(64, np.float32), Out(64), 0, binary=faults
    ).any()


def test_the_shim_holds_copies_back_until_they_are_waited_for(faults):
    launch, values = Launch("copies", (1, 1, 1), (1, 1, 1)), np.arange(4, dtype=np.float32)
    assert np.array_equal(run(launch, values, Out(4), 0, binary=faults), values)
    assert np.all(np.isnan(run(launch, values, Out(4), 1, binary=faults)))


# ------------------------------------------------------------------------- relu, pad, pixels


@typed
def test_relu_its_gate_and_its_derivative(rng, dtype):
    z = draw(rng, (7, 5, 11), dtype)
    z[0, 0, :4] = 0, -0.0, np.nan, np.inf
    F = run(cuda.elementwise(f"relu_{dtype}", z.size), z, Out(z.shape, dtype), z.size)
    assert np.array_equal(F, relu.relu(z), equal_nan=True)
    gate = run(cuda.elementwise(f"relu_gate_{dtype}", z.size), F, Out(z.shape, np.uint8), z.size)
    assert np.array_equal(gate, relu.relu_mask(F))
    gradient = draw(rng, z.shape, dtype)
    launch = cuda.elementwise(f"relu_backward_{dtype}", z.size)
    for by in [(gate, None), (None, F)]:
        out = run(launch, gradient, *by, Out(z.shape, dtype), z.size)
        assert np.array_equal(out, relu.relu_backward(gradient, F))


@typed
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 4, 2), (3, 1, 2), (1, 1, 5), (2, 130, 3)])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_replicate(rng, dtype, shape, padding):
    image = draw(rng, shape, dtype)
    expected = pad.replicate(image, padding)
    height, width, channels = expected.shape
    launch = cuda.rows(f"replicate_{dtype}", height, width * channels)
    out = run(launch, image, Out(expected.shape, dtype), *shape, padding)
    assert np.array_equal(out, expected)
    gradient = draw(rng, expected.shape, dtype)
    launch = cuda.rows(f"replicate_backward_{dtype}", shape[0], shape[1] * shape[2])
    out = run(launch, gradient, Out(shape, dtype), *shape, padding)
    close(out, pad.replicate_backward(gradient, padding))


@typed
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocess(rng, dtype, order):
    pixels = rng.uniform(0, 255, (9, 31, 3))
    mean, scale, turned = (103.9, 116.8, 123.7), (0.5, 0.25, 3.0), int(order == "BGR")
    count = 9 * 31
    launch = cuda.elementwise(f"preprocess_{dtype}", count)
    out = run(launch, pixels, Out(pixels.shape, dtype), count, turned, *mean, *scale)
    assert np.array_equal(out, preprocess(pixels, order, mean, scale, np.dtype(dtype)))
    gradient = draw(rng, pixels.shape, dtype)
    launch = cuda.elementwise(f"preprocess_backward_{dtype}", count)
    out = run(launch, gradient, Out(pixels.shape, np.float64), count, turned, *scale)
    assert np.array_equal(out, preprocess_backward(gradient, order, scale))


# ------------------------------------------------------------------------- pooling


POOLS = {
    "avg_pool2d": (
        pool.avg_pool2d,
        lambda g, x, y, k, s: pool.avg_pool2d_backward(g, x.shape, k, s),
    ),
    "max_pool2d": (pool.max_pool2d, pool.max_pool2d_backward),
    "l2_pool2d": (pool.l2_pool2d, pool.l2_pool2d_backward),
}


@typed
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("size_stride", [(2, 2), (3, 2), (3, 1), (2, 3), (1, 1)])
@pytest.mark.parametrize("shape", [(8, 6, 4), (7, 9, 5), (3, 3, 1), (5, 70, 8)])
def test_pooling_with_ties_and_overlaps(rng, dtype, name, size_stride, shape):
    size, stride = size_stride
    forward, backward = POOLS[name]
    # Few different values and a corner of zeros: many windows tie, and some are all 0.
    image = np.round(draw(rng, shape, dtype) * 2) / 2
    image[:3, :3] = 0
    pooled = forward(image, size, stride)
    geometry = (*shape, size, stride, *pooled.shape[:2])
    launch = cuda.rows(f"{name}_{dtype}", pooled.shape[0], pooled.shape[1] * shape[2])
    close(run(launch, image, Out(pooled.shape, dtype), *geometry), pooled)
    gradient = draw(rng, pooled.shape, dtype)
    launch = cuda.rows(f"{name}_backward_{dtype}", shape[0], shape[1] * shape[2])
    given = (None, None) if name == "avg_pool2d" else (image, pooled)
    out = run(launch, gradient, *given, Out(shape, dtype), *geometry)
    close(out, backward(gradient, image, pooled, size, stride))


# ------------------------------------------------------------------------- losses


def total(partial, factor):
    return run(cuda.TOTAL, partial, Out(1, np.float64), len(partial), factor)[0]


@typed
@pytest.mark.parametrize("count", [1, 255, 257, 5000])
def test_sums_of_squares_are_the_content_and_the_style_loss(rng, dtype, count):
    F, P = draw(rng, (count, 1, 1), dtype), draw(rng, (count, 1, 1), dtype)
    launch = cuda.reduction(f"squares_{dtype}", count)
    partial = run(launch, F, P, Out(launch.grid[0], np.float64), count)
    # Every term is rounded as NumPy's and the sum is float64 on both sides.
    assert total(partial, 0.5) == pytest.approx(losses.content_loss(F, P), rel=1e-13)


@typed
def test_content_and_style_derivatives(rng, dtype):
    height, width, channels = 6, 7, 9
    F = relu.relu(draw(rng, (height, width, channels), dtype))
    P, upstream = draw(rng, F.shape, dtype), draw(rng, F.shape, dtype)
    launch = cuda.elementwise(f"content_backward_{dtype}", F.size)
    for before, gated in product((None, upstream), (True, False)):
        kept = None if before is None else before.copy()
        expected = losses.content_loss_backward(F, P, 0.3, kept, gated=gated)
        out = run(launch, F, P, 0.3, before, Out(F.shape, dtype), int(gated), F.size)
        close(out, expected)

    positions = height * width
    target = draw(rng, (channels, channels), dtype)
    weights = rng.uniform(size=(height, width)).astype(dtype)
    for w in (None, weights):
        gram = losses.mean_gram(F, w)
        gram[2, 5] += 1  # not symmetric, as a GPU's product may not be to the last bit
        factor = 0.7 / (2 * channels**2) / (1 if w is not None else positions)
        launch = cuda.elementwise(f"style_slope_{dtype}", gram.size)
        slope = run(launch, gram, target, factor, Out(gram.shape, dtype), channels)
        products = (F.reshape(positions, channels) @ slope).reshape(F.shape)
        launch = cuda.elementwise(f"style_backward_{dtype}", F.size)
        for before, gated in product((None, upstream), (True, False)):
            kept = None if before is None else before.copy()
            expected = losses.style_loss_backward(F, gram, target, 0.7, kept, w, gated=gated)
            sizes = (positions, channels, int(gated))
            close(run(launch, products, F, w, before, Out(F.shape, dtype), *sizes), expected)


@typed
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3), (17, 23, 3), (40, 60, 3)])
def test_total_variation(rng, dtype, shape):
    image = draw(rng, shape, dtype)
    launch = cuda.reduction(f"tv_{dtype}", image.size)
    partial = run(launch, image, Out(launch.grid[0], np.float64), *shape)
    assert total(partial, 1.0) == pytest.approx(losses.total_variation(image), rel=1e-13)
    launch = cuda.elementwise(f"tv_backward_{dtype}", image.size)
    upstream = draw(rng, shape, dtype)
    derivative = run(launch, image, 1.0, None, Out(shape, dtype), *shape)
    close(derivative, losses.total_variation_backward(image))
    added = run(launch, image, 0.5, upstream, Out(shape, dtype), *shape)
    close(added, upstream + losses.total_variation_backward(image) / 2)


def test_written_over_in_place(rng):
    F, P = draw(rng, 600, "float32"), draw(rng, 600, "float32")
    launch = cuda.elementwise("relu_float32", 600)
    buffer = shim.Guarded(F)
    binary = shim.library("relu")
    shim.launch_raw(binary, launch, [buffer, buffer, 600])
    assert np.array_equal(buffer.values, relu.relu(F))
    launch = cuda.elementwise("content_backward_float32", 600)
    buffer = shim.Guarded(P)
    given = [shim.Guarded(F), shim.Guarded(P), 1.0, buffer, buffer, 1, 600]
    shim.launch_raw(shim.library("losses"), launch, given)
    close(buffer.values, P + (F - P) * (F > 0))
