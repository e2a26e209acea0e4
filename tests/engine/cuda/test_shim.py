"""The elementwise CUDA kernels and the sums, run on the CPU, agree with NumPy.

The shim that runs them detects errors. The tolerance is 1e-12 in float64. In float32 it is 1e-6 of
the largest value, where a kernel adds or multiplies a few numbers: a few roundings of 6e-8 each, in
another order than NumPy's or contracted. Kernels that only move or compare numbers must give equal
results.
"""

import numpy as np
import pytest

from npstyle.engine import cpu
from npstyle.engine.cuda import launch as cuda
from npstyle.engine.cuda.launch import Launch
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
extern "C" __global__ void chain(float* out) {
    out[blockIdx.x] = blockIdx.x ? out[blockIdx.x - 1] + 1 : 0;
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
    names = ["neighbours", "chain", "leaves", "writes", "reads", "copies"]
    return shim.compiled("faults", FAULTS, names)


def test_the_shim_detects_a_missing_barrier(faults):
    launch = Launch("neighbours", (2, 1, 1), (64, 1, 1))
    out = run(launch, Out(64), 1, binary=faults)
    assert np.array_equal(out, (np.arange(64) + 1) % 64)
    with pytest.raises(AssertionError, match="order of threads"):
        run(launch, Out(64), 0, binary=faults)


def test_the_shim_detects_a_block_that_reads_what_another_one_wrote(faults):
    with pytest.raises(AssertionError, match="order of threads"):
        run(Launch("chain", (3, 1, 1), (1, 1, 1)), Out(3), binary=faults)


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((1, 65536, 1), (32, 1, 1)),
        ((1, 1, 65536), (1, 1, 1)),
        ((0, 1, 1), (32, 1, 1)),
        ((1, 1, 1), (32, 32, 2)),
        ((1, 1, 1), (1, 1, 65)),
    ],
)
def test_the_shim_refuses_a_launch_beyond_cudas_limits(faults, grid, block):
    with pytest.raises(AssertionError, match="Launch"):
        run(Launch("leaves", grid, block), Out(64), binary=faults)


def test_the_shim_refuses_an_array_or_a_number_of_another_type(faults):
    launch = Launch("writes", (1, 1, 1), (64, 1, 1))
    for out, k in [(Out(64, np.float64), 0), (Out(64), np.int64(0))]:
        with pytest.raises(TypeError, match="was given"):
            run(launch, out, k, binary=faults)


def test_the_shim_detects_a_thread_that_returns_before_a_barrier(faults):
    with pytest.raises(AssertionError, match="a thread returned"):
        run(Launch("leaves", (1, 1, 1), (64, 1, 1)), Out(64), binary=faults)


@pytest.mark.parametrize("k", [-1, 1, 5])
def test_the_shim_detects_accesses_outside_an_array(faults, k):
    shape = (1, 1, 1), (64, 1, 1)
    with pytest.raises(AssertionError, match="outside"):
        run(Launch("writes", *shape), Out(64), k, binary=faults)
    with pytest.raises(AssertionError, match="outside"):
        run(Launch("reads", *shape), np.zeros(64, np.float32), Out(64), k, binary=faults)
    assert not run(
        Launch("reads", *shape), np.zeros(64, np.float32), Out(64), 0, binary=faults
    ).any()


def test_the_shim_defers_copies_until_the_kernel_waits_for_them(faults):
    launch, values = Launch("copies", (1, 1, 1), (1, 1, 1)), np.arange(4, dtype=np.float32)
    assert np.array_equal(run(launch, values, Out(4), 0, binary=faults), values)
    assert np.all(np.isnan(run(launch, values, Out(4), 1, binary=faults)))


# ------------------------------------------------------------------------- relu, pad, pixels


@typed
def test_relu_its_mask_and_its_derivative(rng, dtype):
    z = draw(rng, (7, 5, 11), dtype)
    z[0, 0, :4] = 0, -0.0, np.nan, np.inf
    F = run(cuda.elementwise(f"relu_{dtype}", z.size), z, Out(z.shape, dtype), z.size)
    assert np.array_equal(F, cpu.relu(z), equal_nan=True)
    mask = run(cuda.elementwise(f"relu_mask_{dtype}", z.size), F, Out(z.shape, np.uint8), z.size)
    assert np.array_equal(mask, cpu.relu_mask(F))
    upstream = draw(rng, z.shape, dtype)
    launch = cuda.elementwise(f"relu_backward_{dtype}", z.size)
    for by in [(mask, None), (None, F)]:
        out = run(launch, upstream, *by, Out(z.shape, dtype), z.size)
        assert np.array_equal(out, cpu.relu_backward(upstream, F))


@typed
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 4, 2), (3, 1, 2), (1, 1, 5), (2, 130, 3)])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_replicate_padding(rng, dtype, shape, padding):
    image = draw(rng, shape, dtype)
    expected = cpu.replicate_pad(image, padding)
    height, width, channels = expected.shape
    launch = cuda.rows(f"replicate_{dtype}", height, width * channels)
    out = run(launch, image, Out(expected.shape, dtype), *shape, padding)
    assert np.array_equal(out, expected)
    upstream = draw(rng, expected.shape, dtype)
    launch = cuda.rows(f"replicate_backward_{dtype}", shape[0], shape[1] * shape[2])
    out = run(launch, upstream, Out(shape, dtype), *shape, padding)
    close(out, cpu.replicate_pad_backward(upstream, padding))


@typed
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocess(rng, dtype, order):
    pixels = rng.uniform(0, 255, (9, 31, 3))
    mean, scale, bgr = (103.9, 116.8, 123.7), (0.5, 0.25, 3.0), int(order == "BGR")
    count = 9 * 31
    launch = cuda.elementwise(f"preprocess_{dtype}", count)
    out = run(launch, pixels, Out(pixels.shape, dtype), count, bgr, *mean, *scale)
    assert np.array_equal(out, cpu.preprocess(pixels, order, mean, scale, np.dtype(dtype)))
    upstream = draw(rng, pixels.shape, dtype)
    launch = cuda.elementwise(f"preprocess_backward_{dtype}", count)
    out = run(launch, upstream, Out(pixels.shape, np.float64), count, bgr, *scale)
    assert np.array_equal(out, cpu.preprocess_backward(upstream, order, scale))


# ------------------------------------------------------------------------- pooling


POOLS = {
    "avg_pool2d": (
        cpu.avg_pool2d,
        lambda g, x, y, k, s: cpu.avg_pool2d_backward(g, x.shape, k, s),
    ),
    "max_pool2d": (cpu.max_pool2d, cpu.max_pool2d_backward),
    "l2_pool2d": (cpu.l2_pool2d, cpu.l2_pool2d_backward),
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
    upstream = draw(rng, pooled.shape, dtype)
    launch = cuda.rows(f"{name}_backward_{dtype}", shape[0], shape[1] * shape[2])
    given = (None, None) if name == "avg_pool2d" else (image, pooled)
    out = run(launch, upstream, *given, Out(shape, dtype), *geometry)
    close(out, backward(upstream, image, pooled, size, stride))


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
    assert total(partial, 0.5) == pytest.approx(cpu.content_loss(F, P), rel=1e-13)


@typed
@pytest.mark.parametrize("adds", [False, True])
def test_content_derivative(rng, dtype, adds):
    F = cpu.relu(draw(rng, (6, 7, 9), dtype))
    P, out = draw(rng, F.shape, dtype), draw(rng, F.shape, dtype)
    launch = cuda.elementwise(f"content_backward_{dtype}", F.size)
    expected = cpu.content_loss_backward(F, P, 0.3, out.copy() if adds else None)
    written = Out(F.shape, dtype, initial=out if adds else None)
    found = run(launch, F, P, 0.3, written, int(adds), F.size)
    close(found, expected)
    if not adds:  # the paper's formula: F - P where F > 0, else 0
        close(cpu.relu_backward(found, F), np.where(F > 0, F.dtype.type(0.3) * (F - P), 0))


@typed
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_style_derivative(rng, dtype, guided, adds):
    height, width, channels = 6, 7, 9
    positions = height * width
    F = cpu.relu(draw(rng, (height, width, channels), dtype))
    A, out = draw(rng, (channels, channels), dtype), draw(rng, F.shape, dtype)
    w = rng.uniform(size=(height, width)).astype(dtype) if guided else None
    G = cpu.mean_gram(F, w)
    G[2, 5] += 1  # not symmetric, as a GPU's product may be in the last bits
    factor = 0.7 / (2 * channels**2) / (1 if guided else positions)
    launch = cuda.elementwise(f"style_slope_{dtype}", G.size)
    slope = run(launch, G, A, factor, Out(G.shape, dtype), channels)
    products = (F.reshape(positions, channels) @ slope).reshape(F.shape)
    launch = cuda.elementwise(f"gram_backward_{dtype}", F.size)
    written = Out(F.shape, dtype, initial=out if adds else None)
    found = run(launch, products, w, written, positions, channels, int(adds))
    close(found, cpu.style_loss_backward(F, A, 0.7, w, G, out.copy() if adds else None))
    if not adds:  # the paper's formula: 0.7 w (D + D^T) F where F > 0, else 0
        D = (G - A) / (2 * channels**2)
        weight = w[..., None] if guided else 1 / positions
        printed = np.where(F > 0, 0.7 * weight * (F @ (D + D.T)), 0).astype(dtype)
        close(cpu.relu_backward(found, F), printed)


@typed
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3), (17, 23, 3), (40, 60, 3)])
def test_total_variation(rng, dtype, shape):
    image = draw(rng, shape, dtype)
    launch = cuda.reduction(f"tv_{dtype}", image.size)
    partial = run(launch, image, Out(launch.grid[0], np.float64), *shape)
    assert total(partial, 1.0) == pytest.approx(cpu.total_variation(image), rel=1e-13)
    launch = cuda.elementwise(f"tv_backward_{dtype}", image.size)
    out = draw(rng, shape, dtype)
    derivative = run(launch, image, 1.0, Out(shape, dtype), *shape, 0)
    close(derivative, cpu.total_variation_backward(image))
    added = run(launch, image, 0.5, Out(shape, dtype, initial=out), *shape, 1)
    close(added, out + cpu.total_variation_backward(image) / 2)


def test_relu_and_content_derivative_in_place(rng):
    F, P = draw(rng, 600, "float32"), draw(rng, 600, "float32")
    launch = cuda.elementwise("relu_float32", 600)
    buffer = shim.Guarded(F)
    binary = shim.library("relu")
    shim.launch_raw(binary, launch, [buffer, buffer, 600])
    assert np.array_equal(buffer.values, cpu.relu(F))
    launch = cuda.elementwise("content_backward_float32", 600)
    buffer = shim.Guarded(P)
    arguments = [shim.Guarded(F), shim.Guarded(P), 1.0, buffer, 1, 600]
    shim.launch_raw(shim.library("losses"), launch, arguments)
    close(buffer.values, P + (F - P))
