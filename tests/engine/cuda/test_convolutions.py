"""The CUDA convolutions, run on the CPU, agree with the textbook in float64.

The tolerance is 1e-12 for float64 kernels. For float32 kernels it is 1e-6 of the result: a few
roundings of 6e-8 over sums of up to a few hundred terms. Winograd's transforms round more: 3e-6, as
in tests/engine/cpu/test_winograd.py. Tensor cores round their operands. The tests round the
textbook's operands in the same way, so that only float32's rounding remains and every index is
tested as strictly as in the other kernels.
"""

import numpy as np
import pytest

from npstyle.engine.cpu.winograd import transform_filters, winograd_conv2d_backward
from npstyle.engine.cuda import launch as cuda
from npstyle.maths import (
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    conv2d_backward_weights,
    output_size,
    relu,
)
from tests.engine.cuda import shim
from tests.engine.cuda.routes import tensor_conv, winograd
from tests.engine.cuda.shim import Out, run
from tests.numeric import relative_error

pytestmark = pytest.mark.skipif(shim.GXX is None, reason=shim.REASON)

NO_RELU = (None, None)
"""Neither mask nor activation."""


def draw(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def exact(array):
    return None if array is None else np.asarray(array, np.float64)


# ------------------------------------------------------------------------- any convolution

CASES = [  # height, width, channels, filters, kernel height, kernel width, stride, padding
    (7, 9, 3, 5, 3, 3, 1, 1),
    (12, 11, 17, 70, 3, 3, 1, 1),  # more channels than a tile has, steps that end early
    (5, 6, 2, 3, 1, 1, 1, 0),
    (9, 13, 4, 66, 5, 3, 2, 2),  # taps without a whole quotient
    (11, 10, 3, 3, 7, 7, 3, 0),
    (1, 1, 1, 1, 3, 3, 1, 1),
    (2, 3, 68, 2, 3, 3, 1, 2),
    (16, 17, 3, 8, 3, 3, 1, 0),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_conv2d(rng, dtype, case):
    height, width, channels, filters, kernel_height, kernel_width, stride, padding = case
    image = draw(rng, height, width, channels, dtype=dtype)
    kernel = draw(rng, kernel_height, kernel_width, channels, filters, dtype=dtype)
    bias = draw(rng, filters, dtype=dtype)
    size = output_size(image.shape, kernel.shape, stride, padding)
    launch = cuda.conv2d(dtype, *size, filters)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    for added, rectify in [(None, 0), (bias, 0), (bias, 1)]:
        out = run(launch, image, kernel, added, Out((*size, filters), dtype), *case, *size, rectify)
        expected = conv2d(exact(image), exact(kernel), exact(added), stride, padding)
        expected = relu(expected) if rectify else expected
        assert relative_error(out, expected) <= tolerance or not expected.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_conv2d_backward(rng, dtype, case):
    height, width, channels, filters, kernel_height, kernel_width, stride, padding = case
    kernel = draw(rng, kernel_height, kernel_width, channels, filters, dtype=dtype)
    shape = (height, width, channels)
    size = output_size(shape, kernel.shape, stride, padding)
    upstream = draw(rng, *size, filters, dtype=dtype)
    F = relu(draw(rng, *size, filters, dtype=dtype))
    F.flat[0] = 1  # at least one unit is positive
    mask = (F > 0).astype(np.uint8)
    launch = cuda.conv2d_backward(dtype, *shape)
    assert ("few" in launch.kernel) == (channels <= 4)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    for by in [NO_RELU, (mask, None), (None, F)]:
        out = run(launch, upstream, kernel, *by, Out(shape, dtype), *case, *size)
        passed = exact(upstream) * (1 if by is NO_RELU else mask)
        expected = conv2d_backward(passed, exact(kernel), shape, stride, padding)
        assert relative_error(out, expected) < tolerance


def backward_weights(upstream, image, size, stride, padding):
    """Run the two steps; return dL/dK and the number of partial sums."""
    shape, dtype = (*size, image.shape[2], upstream.shape[2]), upstream.dtype
    count, positions = int(np.prod(shape)), upstream[..., 0].size
    launch = cuda.conv2d_backward_weights(dtype.name, positions, count // shape[3], shape[3])
    parts = launch.grid[2]
    geometry = (*image.shape, shape[3], *size, stride, padding, *upstream.shape[:2])
    partial = run(launch, upstream, image, Out((parts, *shape), dtype), *geometry)
    totals = cuda.elementwise(f"kernel_totals_{dtype.name}", count)
    return run(totals, partial, Out(shape, dtype), parts, count), parts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*CASES, (23, 25, 3, 16, 9, 9, 1, 4), (33, 31, 2, 17, 3, 3, 2, 1)])
def test_conv2d_backward_weights(rng, dtype, case):
    height, width, channels, filters, *size, stride, padding = case
    image = draw(rng, height, width, channels, dtype=dtype)
    positions = output_size(image.shape, size, stride, padding)
    upstream = draw(rng, *positions, filters, dtype=dtype)
    found, parts = backward_weights(upstream, image, size, stride, padding)
    assert (parts > 1) == (upstream[..., 0].size >= 2 * cuda.KERNEL_POSITIONS)
    expected = conv2d_backward_weights(exact(upstream), exact(image), size, stride, padding)[0]
    assert relative_error(found, expected) <= (1e-6 if dtype == "float32" else 1e-12)


def test_no_partial_sum_of_a_kernel_is_without_positions_and_few_are_written():
    for positions in (1, 127, 500, 4096, 65_536, 1_000_003):
        for rows, filters in [(27, 3), (243, 16), (1296, 3), (576, 64), (1152, 128), (4608, 512)]:
            launch = cuda.conv2d_backward_weights("float32", positions, rows, filters)
            parts = launch.grid[2]
            each = -(-positions // parts)
            assert (parts - 1) * each < positions
            assert parts == 1 or each >= cuda.KERNEL_POSITIONS
            assert parts == 1 or np.prod(launch.grid) <= cuda.KERNEL_BLOCKS
            side = 128 if "few" in launch.kernel else 64
            assert launch.grid[0] * side >= rows
            assert launch.grid[1] * (16 if "few" in launch.kernel else 64) >= filters


# ------------------------------------------------------------------------- Winograd

SHAPES = [  # height, width, channels, filters
    (8, 8, 3, 4),
    (5, 7, 9, 3),
    (1, 1, 2, 3),
    (2, 30, 3, 5),
    (13, 17, 16, 8),
    (9, 14, 12, 68),
]


@pytest.mark.parametrize("strips", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_winograd_forward(rng, shape, strips):
    height, width, channels, filters = shape
    image, bias = draw(rng, height, width, channels), draw(rng, filters)
    kernel = draw(rng, 3, 3, channels, filters)
    U = transform_filters(kernel)
    expected = conv2d(exact(image), exact(kernel), None, 1, 1)
    out = winograd("winograd_to_tiles", (image,), U, None, image.shape, filters, strips=strips)
    assert relative_error(out, expected) < 3e-6
    options = {"rectify": 1, "strips": strips}
    out = winograd("winograd_to_tiles", (image,), U, bias, image.shape, filters, **options)
    assert np.linalg.norm(out - relu(expected + bias)) < 3e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("shape", "pooling"), [(s, p) for s in SHAPES for p in (1, 2, 3) if min(s[:2]) >= p]
)
def test_winograd_backward_with_mask_and_pooling(rng, shape, pooling):
    height, width, channels, filters = shape
    kernel = draw(rng, 3, 3, channels, filters)
    U = transform_filters(kernel)
    F = relu(draw(rng, height, width, filters))
    F[0, 0] = 1
    mask = (F > 0).astype(np.uint8)
    upstream = draw(rng, height // pooling, width // pooling, filters)
    at_relu = exact(upstream)
    if pooling > 1:
        at_relu = avg_pool2d_backward(at_relu, F.shape, pooling)
    for by in [(mask, None), (None, F), NO_RELU]:
        passed = at_relu * (1 if by is NO_RELU else mask)
        expected = conv2d_backward(passed, exact(kernel), (height, width, channels), 1, 1)
        out = winograd(
            "winograd_to_tiles_backward",
            (upstream, *by, pooling),
            U,
            None,
            F.shape,
            channels,
            flipped=1,
            strips=2,
        )
        assert relative_error(out, expected) < 3e-6
        if by[0] is not None:
            twin = winograd_conv2d_backward(upstream, U, mask.astype(bool), pooling)
            assert relative_error(out, twin) < 3e-6


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("tiles", "columns", "depth"),
    [(65, 66, 5), (129, 132, 12), (3, 130, 9), (200, 65, 8), (1, 1, 1)],
)
def test_winograd_product(rng, tiles, columns, depth, flipped):
    launch = cuda.winograd_product(tiles, columns, flipped)
    assert ("large" in launch.kernel) == (min(tiles, columns) > 64)
    few = launch._replace(grid=(*launch.grid[:2], 2))  # two of the 36 products are enough
    V, U = draw(rng, 2, tiles, depth), draw(rng, 2, depth, columns)
    stored = U.transpose(0, 2, 1) if flipped else U
    M = run(few, V, stored, Out((2, tiles, columns)), tiles, columns, depth)
    assert relative_error(M, exact(V) @ exact(U)) < 1e-6


# ------------------------------------------------------------------------- tensor cores


def rounded(values, precision):
    """Round to tf32 (ten bits of fraction, halves away from zero) or fp16; return float64."""
    if precision == "fp16":
        return values.astype(np.float16).astype(np.float64)
    bits = (np.ascontiguousarray(values, np.float32).view(np.uint32) + 0x1000) & 0xFFFFE000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


TENSOR_SHAPES = [  # height, width, channels, filters, multiprocessors (more: splits)
    (8, 16, 16, 8, 0),
    (9, 17, 3, 3, 0),
    (5, 6, 37, 70, 0),
    (3, 18, 64, 132, 0),
    (10, 5, 66, 20, 3),  # the last split has less to do
    (7, 7, 52, 9, 4),
]


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize("shape", TENSOR_SHAPES)
def test_tensor_forward(rng, precision, shape):
    height, width, channels, filters, multiprocessors = shape
    image, bias = draw(rng, height, width, channels), draw(rng, filters)
    kernel = draw(rng, 3, 3, channels, filters)
    options = {"bias": bias, "rectify": 1, "multiprocessors": multiprocessors}
    out = tensor_conv(image, kernel, precision, **options)
    image, kernel = rounded(image, precision), rounded(kernel, precision)
    expected = conv2d(image, kernel, exact(bias), 1, 1)
    assert np.linalg.norm(out - relu(expected)) < 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize("pooling", [1, 2])
@pytest.mark.parametrize("shape", TENSOR_SHAPES)
def test_tensor_backward(rng, precision, shape, pooling):
    height, width, channels, filters, multiprocessors = shape
    kernel = draw(rng, 3, 3, channels, filters)
    mask = rng.integers(0, 2, (height, width, filters)).astype(np.uint8)
    mask[0, 0] = 1
    upstream = draw(rng, height // pooling, width // pooling, filters) * np.float32(2.0**-20)
    scale = 2.0**18  # otherwise fp16 would lose most of these digits
    for given in (mask, None):
        out = tensor_conv(
            upstream,
            kernel,
            precision,
            shape=(height, width, filters),
            mask=given,
            pooling=pooling,
            flipped=1,
            scale=scale,
            multiprocessors=multiprocessors,
        )
        passed = rounded(upstream * np.float32(2.0**18), precision) / 2.0**18
        if pooling > 1:
            passed = avg_pool2d_backward(passed, mask.shape, pooling)
        if given is not None:
            passed = passed * mask
        K = rounded(kernel, precision)
        expected = conv2d_backward(passed, K, (height, width, channels), 1, 1)
        assert relative_error(out, expected) < 1e-6


@pytest.mark.parametrize("count", [1, 300, 5000])
@pytest.mark.parametrize("size", [1e-30, 3e-7, 1.0, 60000.0, 2.0**100])
def test_the_scale_brings_the_largest_value_to_a_fixed_range(rng, count, size):
    values = (draw(rng, count) * size).astype(np.float32)
    launch = cuda.reduction("largest", count)
    partial = run(launch, values, Out(launch.grid[0]), count)
    scale = run(cuda.SCALE_UP, partial, Out(1), len(partial))[0]
    assert np.frexp(scale)[0] == 0.5
    scaled = np.abs(values).max() * scale
    assert 2.0**10 <= scaled < 2.0**11 or scale == 2.0**120


def test_the_scale_is_one_if_the_largest_value_is_zero_or_infinite():
    for value in (0.0, np.inf):
        partial = np.array([0.0, value], np.float32)
        assert run(cuda.SCALE_UP, partial, Out(1), 2)[0] == 1


def test_a_split_without_a_chunk_adds_nothing(rng):
    image, kernel = draw(rng, 8, 16, 8), draw(rng, 3, 3, 8, 8)
    expected = conv2d(rounded(image, "tf32"), rounded(kernel, "tf32"), None, 1, 1)
    packed = np.zeros((9, 1, 64, 16), np.uint32)
    taps = rounded(kernel, "tf32").astype(np.float32).reshape(9, 8, 8)
    packed[:, 0, :8, :8] = np.ascontiguousarray(taps.transpose(0, 2, 1)).view(np.uint32)
    launch = cuda.tensor_conv("tf32", 8, 16, 8, 8, 0)._replace(grid=(1, 1, 2))
    geometry = (8, 16, 8, 8, 16, 64, 1)
    parts = run(launch, image, packed, None, None, Out((2, 8, 16, 8)), *geometry, 0, None, 1)
    assert relative_error(parts[0], expected) < 1e-6
    assert not parts[1].any()


def test_every_split_has_at_least_one_chunk():
    for channels in (3, 64, 200, 512):
        for multiprocessors in (0, 8, 132, 10_000):
            launch = cuda.tensor_conv("fp16", 32, 24, channels, 512, multiprocessors)
            chunks = cuda.tensor_words("fp16", channels) // cuda.CHUNK
            each = -(-chunks // launch.grid[2])
            assert (launch.grid[2] - 1) * each < chunks
