"""Every function of the CUDA engine computes its page of the textbook, `npstyle.maths`.

The functions run on a GPU where CuPy finds one, otherwise on the stand-in for CuPy, which runs the
same kernels on the CPU. The textbook runs in float64 on the same numbers. The tolerance is relative
to the largest value: 1e-12 in float64, and 3e-6 in float32 for sums of up to some hundred terms.
"""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine import cpu, cuda
from npstyle.engine.cuda import winograd
from tests.engine.cuda.gpus import back, needed, to

pytestmark = needed

typed = pytest.mark.parametrize("dtype", ["float32", "float64"])

LOSSES = {"content_loss", "gram_loss", "style_loss", "total_variation"}
"""Functions that return an array of one float64."""


def gram_loss(G, A):
    return np.sum((G - A) ** 2) / (4 * len(A) ** 2)


def gram_loss_backward(G, A, beta=1.0):
    return beta * (G - A) / (2 * len(A) ** 2)


def rectified(upstream, F):
    """dL/dZ, from dL/dF and F."""
    return maths.relu_backward(upstream, F)


def draw(rng, *shape):
    return rng.standard_normal(shape)


def convolutions(rng):
    for size, stride, padding in [((3, 3), 1, 1), ((3, 3), 2, 0), ((5, 2), 1, 2)]:
        X, K, b = draw(rng, 9, 11, 5), draw(rng, *size, 5, 7), draw(rng, 7)
        way = stride, padding
        Z = maths.conv2d(X, K, b, *way)
        F, g = maths.relu(Z), draw(rng, *Z.shape)
        yield "conv2d", (X, K, b, *way), {}, Z
        yield "conv2d", (X, K, None, *way), {}, maths.conv2d(X, K, None, *way)
        yield "conv2d", (X, K, b, *way), {"rectify": True}, F
        expected = maths.conv2d_backward(g, K, X.shape, *way)
        yield "conv2d_backward", (g, K, X.shape, *way), {}, expected
        expected = maths.conv2d_backward(rectified(g, F), K, X.shape, *way)
        for mask in (F, F > 0):
            yield "conv2d_backward", (g, K, X.shape, *way), {"relu_mask": mask}, expected
        expected = maths.conv2d_backward_weights(g, X, size, *way)
        yield "conv2d_backward_weights", (g, X, size, *way), {}, expected
    for channels, filters in [(3, 16), (20, 17)]:  # several partial sums
        X, g = draw(rng, 20, 27, channels), draw(rng, 20, 27, filters)
        expected = maths.conv2d_backward_weights(g, X, (3, 3), 1, 1)
        yield "conv2d_backward_weights", (g, X, (3, 3), 1, 1), {}, expected


def pooling(rng):
    for size, stride in [(2, None), (3, 2)]:
        X = maths.relu(draw(rng, 9, 10, 4))
        Y = maths.avg_pool2d(X, size, stride)
        g = draw(rng, *Y.shape)
        yield "avg_pool2d", (X, size, stride), {}, Y
        expected = maths.avg_pool2d_backward(g, X.shape, size, stride)
        yield "avg_pool2d_backward", (g, X.shape, size, stride), {}, expected
        for mode in ("max", "l2"):
            Y = getattr(maths, f"{mode}_pool2d")(X, size, stride)
            yield f"{mode}_pool2d", (X, size, stride), {}, Y
            expected = getattr(maths, f"{mode}_pool2d_backward")(g, X, size, stride)
            yield f"{mode}_pool2d_backward", (g, X, Y, size, stride), {}, expected


def pointwise(rng):
    Z, g = draw(rng, 7, 5, 3), draw(rng, 7, 5, 3)
    F = maths.relu(Z)
    yield "relu", (Z,), {}, F
    yield "relu_mask", (F,), {}, F > 0
    for mask in (F, F > 0):
        yield "relu_backward", (g, mask), {}, rectified(g, F)
    yield "replicate_pad", (Z, 2), {}, maths.replicate_pad(Z, 2)
    g = draw(rng, 11, 9, 3)
    yield "replicate_pad_backward", (g, 2), {}, maths.replicate_pad_backward(g, 2)
    yield "zeros_like", (Z,), {}, np.zeros(Z.shape)


def losses(rng):
    F, P = maths.relu(draw(rng, 6, 7, 5)), maths.relu(draw(rng, 6, 7, 5))
    D, A, out = draw(rng, 5, 5), draw(rng, 5, 5), draw(rng, *F.shape)
    yield "content_loss", (F, P), {}, maths.content_loss(F, P)
    slope = 3 * maths.content_loss_backward(F, P)
    yield "content_loss_backward", (F, P, 3.0), {}, slope
    yield "content_loss_backward", (F, P, 3.0), {"out": out}, out + slope
    yield "total_variation", (F,), {}, maths.total_variation(F)
    slope = 3 * maths.total_variation_backward(F)
    yield "total_variation_backward", (F, 3.0), {}, slope
    yield "total_variation_backward", (F, 3.0), {"out": out}, out + slope
    yield "gram_loss", (D, A), {}, gram_loss(D, A)
    yield "gram_loss_backward", (D, A, 3.0), {}, gram_loss_backward(D, A, 3.0)
    w = rng.uniform(0, 1, (6, 7))
    for guide in (None, w / w.sum()):
        G = maths.mean_gram(F, guide)
        yield "gram", (F, guide), {}, maths.gram(F, guide)
        yield "mean_gram", (F, guide), {}, G
        slope = maths.gram_backward(D, F, guide)
        yield "gram_backward", (D, F, guide), {}, slope
        yield "gram_backward", (D, F, guide), {"out": out}, out + slope
        yield "style_loss", (F, A, guide), {}, maths.style_loss(F, A, guide)
        slope = 3 * maths.style_loss_backward(F, A, guide)
        for options in ({}, {"gram": G}):
            yield "style_loss_backward", (F, A, 3.0, guide), options, slope
            added = {**options, "out": out}
            yield "style_loss_backward", (F, A, 3.0, guide), added, out + slope


CASES = {
    f"{name}-{number}": (rows, number)
    for rows in (convolutions, pooling, pointwise, losses)
    for number, (name, *_) in enumerate(rows(np.random.default_rng(0)))
}
"""One call of a function each: its table, and its row there."""


def placed(given, dtype):
    """An argument on the GPU, floats in this dtype."""
    if not isinstance(given, np.ndarray):
        return given
    return to(given if given.dtype == bool else given.astype(dtype))


def close(found, expected, dtype):
    assert found.shape == np.shape(expected)
    tolerance = 1e-12 if dtype == "float64" else 3e-6
    assert np.abs(found - expected).max() <= tolerance * max(1e-30, np.abs(expected).max())


@typed
@pytest.mark.parametrize("case", CASES)
def test_a_function_agrees_with_the_textbook(rng, dtype, case):
    rows, number = CASES[case]
    name, arguments, options, expected = list(rows(rng))[number]
    given = [placed(argument, dtype) for argument in arguments]
    keywords = {key: placed(value, dtype) for key, value in options.items()}
    result = getattr(cuda, name)(*given, **keywords)
    if name in LOSSES:
        (value,) = cuda.numbers([result])
        assert value == pytest.approx(expected, rel=1e-12 if dtype == "float64" else 1e-5)
        return
    if "out" in keywords:
        assert result is keywords["out"]
    several = isinstance(expected, tuple)
    results, rights = (result, expected) if several else ((result,), (expected,))
    for one, right in zip(results, rights, strict=True):
        found = back(one)
        assert found.dtype == (bool if name == "relu_mask" else dtype)
        close(found.astype(np.float64), np.asarray(right, np.float64), dtype)


@typed
def test_relu_and_its_derivative_overwrite_out(rng, dtype):
    Z, g = draw(rng, 7, 5, 3).astype(dtype), draw(rng, 7, 5, 3).astype(dtype)
    F = maths.relu(Z)
    into = to(Z)
    assert cuda.relu(into, out=into) is into
    assert np.array_equal(back(into), F)
    into = to(g)
    assert cuda.relu_backward(into, to(F), out=into) is into
    assert np.array_equal(back(into), rectified(g, F))


@typed
def test_the_papers_derivatives_are_the_losses_composed_with_the_relu(rng, dtype):
    """The paper prints F - P and (G - A) F / (N^2 M^2) where F > 0, else 0."""
    F, P = (maths.relu(draw(rng, 6, 7, 5)).astype(dtype) for _ in range(2))
    A = maths.mean_gram(P)
    positions, channels = 6 * 7, 5
    content = cuda.relu_backward(cuda.content_loss_backward(to(F), to(P)), to(F))
    close(back(content), np.where(F > 0, F - P, 0), dtype)
    style = cuda.relu_backward(cuda.style_loss_backward(to(F), to(A)), to(F))
    G = maths.gram(F.astype(np.float64)) - A * positions
    printed = np.where(F > 0, F @ G / (channels**2 * positions**2), 0)
    close(back(style), printed, dtype)


@pytest.mark.parametrize("shape", [(10, 13, 6), (8, 8, 70)])
def test_winograd_agrees_with_the_textbook(rng, shape):
    X, K, b = draw(rng, *shape), draw(rng, 3, 3, shape[2], 9), draw(rng, 9)
    on_gpu = partial(placed, dtype="float32")
    U = cuda.transform_filters(on_gpu(K))
    Z = maths.conv2d(X, K, b, 1, 1)
    F = maths.relu(Z)
    close(back(cuda.winograd_conv2d(on_gpu(X), U, on_gpu(b), rectify=True)), F, "float32")
    expected = maths.conv2d(X, K, None, 1, 1)
    close(back(cuda.winograd_conv2d(on_gpu(X), U)), expected, "float32")
    g = draw(rng, *F.shape)
    pooled = draw(rng, shape[0] // 2, shape[1] // 2, 9)
    at_relu = maths.avg_pool2d_backward(pooled, F.shape)
    for upstream, mask, pooling, at_F in [
        (g, None, 1, g),
        (g, F, 1, rectified(g, F)),
        (g, F > 0, 1, rectified(g, F)),
        (pooled, F > 0, 2, rectified(at_relu, F)),
    ]:
        found = cuda.winograd_conv2d_backward(on_gpu(upstream), U, on_gpu(mask), pooling)
        close(back(found), maths.conv2d_backward(at_F, K, X.shape, 1, 1), "float32")


@typed
def test_transformed_filters_are_those_of_the_cpu(rng, dtype):
    K = draw(rng, 3, 3, 4, 5).astype(dtype)
    found, expected = back(cuda.transform_filters(to(K))), cpu.transform_filters(K)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    tolerance = 1e-7 if dtype == "float32" else 1e-14
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_winograd_in_strips_gives_the_same_bits(rng, monkeypatch):
    X, mask = draw(rng, 18, 9, 6).astype("f4"), rng.integers(0, 2, (18, 9, 5)) > 0
    U = cuda.transform_filters(to(draw(rng, 3, 3, 6, 5).astype("f4")))
    g = to(draw(rng, 9, 4, 5).astype("f4"))
    found = {}
    for strip_bytes in (1 << 29, 1 << 14):
        monkeypatch.setattr(winograd, "STRIP_BYTES", strip_bytes)
        found[strip_bytes] = [
            back(cuda.winograd_conv2d(to(X), U, rectify=True)),
            back(cuda.winograd_conv2d_backward(g, U, to(mask), 2)),
        ]
    assert winograd.winograd_rows(X.shape, 5) == 3
    for whole, strips in zip(*found.values(), strict=True):
        assert np.array_equal(whole, strips)


@typed
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_agrees_with_the_textbook(rng, dtype, order):
    pixels, mean, scale = rng.uniform(0, 255, (5, 4, 3)), (1.0, 2.0, 3.0), (0.5, 0.25, 2.0)
    found = back(cuda.preprocess(to(pixels), order, mean, scale, np.dtype(dtype)))
    assert found.dtype == dtype
    close(found, maths.preprocess(pixels, order, mean, scale), dtype)
    g = draw(rng, *pixels.shape).astype(dtype)
    found = back(cuda.preprocess_backward(to(g), order, scale))
    assert found.dtype == np.float64
    close(found, maths.preprocess_backward(g.astype(np.float64), order, scale), "float64")


def test_reflection_at_the_walls_of_the_box_is_the_textbooks(rng):
    z = np.append(rng.uniform(-2000, 2000, 600), [0.0, 255.0, 510.0, -255.0])
    g = draw(rng, *z.shape)
    assert np.array_equal(back(cuda.mirror(to(z))), maths.mirror(z))
    assert np.array_equal(back(cuda.mirror_backward(to(g), to(z))), maths.mirror_backward(g, z))


@typed
@pytest.mark.parametrize("count", [3, 2100, 5000])
def test_inner_products_and_combinations_of_rows(rng, dtype, count):
    basis, c = draw(rng, 7, count).astype(dtype), draw(rng, 7)
    exact = basis.astype(np.float64)
    found = cuda.inner_products(to(basis), to(basis[5]))
    assert type(found) is np.ndarray
    assert found == pytest.approx(exact @ exact[5], rel=1e-10, abs=1e-10)
    combined = back(cuda.combination(c, to(basis)))
    assert combined.dtype == dtype
    close(combined, c @ exact, dtype)


def test_arrays_are_placed_fetched_and_listed(rng):
    array = draw(rng, 4, 3)
    there = cuda.place(array.T, np.float32)
    assert hasattr(there, "__cuda_array_interface__")
    assert there.flags.c_contiguous
    assert cuda.place(there) is there
    here = cuda.to_host(there)
    assert type(here) is np.ndarray
    assert np.array_equal(here, array.T.astype(np.float32))
    assert cuda.to_host(array) is array
    assert cuda.numbers([to(np.array([1.5])), to(np.array([2.0]))]) == [1.5, 2.0]
    assert cuda.numbers([]) == []


def test_the_engine_is_imported_without_cupy():
    code = "import sys, npstyle.engine.cuda; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
