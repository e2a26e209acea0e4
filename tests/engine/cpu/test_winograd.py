"""The fast route is the same function as the plain one, up to the rounding of float32."""

from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from npstyle.engine.cpu import winograd, winograd_tiles
from npstyle.engine.cpu.conv import conv2d, conv2d_backward
from npstyle.engine.cpu.pooling import avg_pool2d, avg_pool2d_backward
from npstyle.engine.cpu.relu import relu, relu_backward
from npstyle.engine.cpu.winograd import (
    transform_filters,
    winograd_conv2d,
    winograd_conv2d_backward,
)
from npstyle.engine.threads import use_threads
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.subjects import Subject
from npstyle.networks.network import load_network
from npstyle.run.settings import PRESETS
from tests.masks import beside_float64
from tests.numeric import relative_error

SHAPES = [(8, 8, 3, 4), (5, 7, 4, 3), (1, 1, 2, 3), (2, 30, 3, 5), (33, 6, 5, 6), (13, 17, 16, 8)]


@pytest.fixture(params=["strips", "whole layer"], autouse=True)
def route(request, monkeypatch):
    """Both ways to process a layer, at sizes where only one of them would be chosen."""
    if find_spec("numba") is not None:
        compiled = import_module("npstyle.engine.cpu.compiled.winograd")
        monkeypatch.setattr(compiled, "STRIP_TILES", 3)
        tiles = 1e9 if request.param == "strips" else 0
        monkeypatch.setattr(compiled, "FILTERS_PER_TILE", tiles)
    for name in ("FEW_TILES", "FEW_TILES_FOR_SMALL_FILTERS"):
        monkeypatch.setattr(winograd, name, 0 if request.param == "strips" else 1e9)
    monkeypatch.setattr(winograd, "STRIP_BYTES", 30_000)
    monkeypatch.setattr(winograd, "STRIPS_PER_FILTERS", 1e9)


def draw(rng, shape):
    height, width, channels, filters = shape
    image = rng.standard_normal((height, width, channels)).astype(np.float32)
    weight = rng.standard_normal((3, 3, channels, filters)).astype(np.float32)
    return image, weight, rng.standard_normal(filters).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward_equal_the_plain_route_in_float64(rng, cpu_engine, shape, threads):
    image, weight, bias = draw(rng, shape)
    filters = cpu_engine.transform_filters(weight)
    exact = conv2d(image.astype(float), weight.astype(float), bias.astype(float), 1, 1)
    upstream = rng.standard_normal(exact.shape).astype(np.float32)
    exact_backward = conv2d_backward(
        upstream.astype(float), weight.astype(float), image.shape, 1, 1
    )
    with use_threads(threads):
        out = cpu_engine.winograd_conv2d(image, filters, bias)
        rectified = cpu_engine.winograd_conv2d(image, filters, bias, rectify=True)
        backward = cpu_engine.winograd_conv2d_backward(upstream, filters)
    assert out.dtype == backward.dtype == np.float32
    assert relative_error(out, exact) < 3e-6
    assert relative_error(backward, exact_backward) < 3e-6
    assert np.array_equal(rectified, relu(out))


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_includes_the_relu_mask_and_the_pooling(rng, shape):
    image, weight, bias = (values.astype(float) for values in draw(rng, shape))
    filters = transform_filters(weight)
    activation = winograd_conv2d(image, filters, bias, rectify=True)
    upstream = rng.standard_normal(activation.shape)
    expected = conv2d_backward(relu_backward(upstream, activation), weight, image.shape, 1, 1)
    for mask in (activation, activation > 0):
        found = winograd_conv2d_backward(upstream, filters, mask)
        assert np.allclose(found, expected, rtol=0, atol=1e-10)
    if min(image.shape[:2]) >= 2:
        pooled = rng.standard_normal(avg_pool2d(activation).shape)
        upstream = avg_pool2d_backward(pooled, activation.shape)
        expected = conv2d_backward(relu_backward(upstream, activation), weight, image.shape, 1, 1)
        found = winograd_conv2d_backward(pooled, filters, activation > 0, pooling=2)
        assert np.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pooling", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_takes_them_along_in_float32(rng, cpu_engine, shape, pooling):
    image, weight, _ = draw(rng, shape)
    filters = cpu_engine.transform_filters(weight)
    F = relu(rng.standard_normal((*image.shape[:2], weight.shape[3])).astype(np.float32))
    if pooling == 1:
        upstream = at_F = rng.standard_normal(F.shape).astype(np.float32)
    else:
        pooled = (F.shape[0] // pooling, F.shape[1] // pooling, F.shape[2])
        upstream = rng.standard_normal(pooled).astype(np.float32)
        at_F = avg_pool2d_backward(upstream.astype(float), F.shape, pooling) if upstream.size else 0
    expected = conv2d_backward(at_F * (F > 0), weight.astype(float), image.shape, 1, 1)
    for mask in (F, F > 0):
        found = cpu_engine.winograd_conv2d_backward(upstream, filters, mask, pooling)
        assert np.linalg.norm(found - expected) <= 3e-6 * np.linalg.norm(expected)


def test_threads_do_not_change_a_bit_and_read_only_arrays_serve(rng, cpu_engine):
    image, weight, bias = draw(rng, (29, 43, 20, 24))
    filters = cpu_engine.transform_filters(weight)
    upstream = rng.standard_normal((29, 43, 24)).astype(np.float32)
    mask = upstream > 0
    for array in (image, filters, bias, upstream, mask):
        array.flags.writeable = False
    found = []
    for threads in (1, 2, 3):
        with use_threads(threads):
            out = cpu_engine.winograd_conv2d(image, filters, bias, rectify=True)
            found.append((out, cpu_engine.winograd_conv2d_backward(upstream, filters, mask)))
    for out, backward in found[1:]:
        assert np.array_equal(out, found[0][0])
        assert np.array_equal(backward, found[0][1])


def test_filters_transform_as_the_formula_says(rng):
    weight = rng.standard_normal((3, 3, 2, 3))
    U = transform_filters(weight).reshape(6, 6, 2, 3)
    for c, o in np.ndindex(2, 3):
        expected = winograd_tiles.G @ weight[:, :, c, o] @ winograd_tiles.G.T
        assert np.allclose(U[:, :, c, o], expected, rtol=0, atol=1e-6)


def test_one_tile_in_exact_arithmetic_is_the_plain_sum():
    """F(4x4, 3x3) itself is exact: in float64 only rounding remains."""
    rng = np.random.default_rng(1)
    d, g = rng.integers(-9, 9, (6, 6)).astype(float), rng.integers(-9, 9, (3, 3)).astype(float)
    A, B, G = winograd_tiles.A, winograd_tiles.B, winograd_tiles.G
    Y = A.T @ ((G @ g @ G.T) * (B.T @ d @ B)) @ A
    expected = [[np.sum(d[y : y + 3, x : x + 3] * g) for x in range(4)] for y in range(4)]
    assert np.allclose(Y, expected, rtol=0, atol=1e-9)


def test_the_laboratory_accepts_it_and_rejects_a_missing_flip(rng):
    image, weight, _ = draw(rng, (9, 7, 6, 6))
    filters = transform_filters(weight)

    def right(g, x):
        return winograd_conv2d_backward(g.astype(np.float32), filters)

    def not_flipped(g, x):
        return winograd_conv2d(g.astype(np.float32), filters.transpose(0, 2, 1))

    def check(derivative):
        function = partial(winograd_conv2d, filters=filters)
        subject = Subject("winograd", function, derivative, (image,), linear=(0,))
        return check_subject(subject, samples=40)

    assert check(right).passed, check(right)
    assert not check(not_flipped).passed


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("preset", PRESETS)
def test_objective_with_every_layer_fast_at_an_odd_size(
    rng, monkeypatch, cpu_engine, preset, pooling
):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", 0)
    photo, painting, pixels = (rng.uniform(0, 255, (45, 61, 3)) for _ in range(3))
    settings = replace(PRESETS[preset], pooling=pooling)
    found = beside_float64(
        load_network("builtin"), photo, painting, pixels, settings, engine=cpu_engine
    )
    assert found.loss <= 1e-5
    assert found.gradient <= 1e-4
    assert found.gradient_with_masks <= 1e-5
