"""The launchers, against the NumPy functions of the same names.

Where CuPy finds a card, on the card; elsewhere with tests/engine/cuda/cupy.py in CuPy's place,
which runs the same kernels on the CPU.
"""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.cpu import conv, losses, relu, winograd
from npstyle.engine.cpu import gram as grams
from npstyle.engine.cpu import padding as pad
from npstyle.engine.cpu import pooling as pool
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.objective import build_objective
from npstyle.images import image as images
from npstyle.maths.network import Pool
from npstyle.networks.network import accelerate, configure, to_device
from npstyle.run.settings import PRESETS as PRESETS_BY_NAME
from npstyle.run.settings import Settings
from tests.engine.cuda.cards import back, needed, to

pytestmark = needed


def same(found, expected, tolerance=None):
    found, expected = back(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    tolerance = tolerance or (1e-12 if found.dtype == np.float64 else 3e-6)
    assert np.abs(found - expected).max() <= tolerance * max(1e-30, np.abs(expected).max())


typed = pytest.mark.parametrize("dtype", ["float32", "float64"])


@typed
@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0)])
def test_convolution_with_relu_and_back(rng, dtype, stride, padding):
    image = rng.standard_normal((9, 11, 5)).astype(dtype)
    weight = rng.standard_normal((3, 3, 5, 7)).astype(dtype)
    bias = rng.standard_normal(7).astype(dtype)
    F = relu.relu(conv.conv2d(image, weight, bias, stride, padding))
    same(gpu.conv2d(to(image), to(weight), to(bias), stride, padding, rectify=True), F)
    g = rng.standard_normal(F.shape).astype(dtype)
    expected = conv.conv2d_backward(g * (F > 0), weight, image.shape, stride, padding)
    for gate in (F, F > 0):
        found = gpu.conv2d_backward(to(g), to(weight), image.shape, stride, padding, to(gate))
        same(found, expected)
    same(
        gpu.conv2d_backward(to(g), to(weight), image.shape, stride, padding),
        conv.conv2d_backward(g, weight, image.shape, stride, padding),
    )


@pytest.mark.parametrize("shape", [(10, 13, 6), (8, 8, 70)])
def test_winograd_and_back_through_relu_and_pooling(rng, shape):
    image = rng.standard_normal(shape).astype("f4")
    weight = rng.standard_normal((3, 3, shape[2], 9)).astype("f4")
    bias = rng.standard_normal(9).astype("f4")
    U = winograd.transform_filters(weight)
    F = winograd.winograd_conv2d(image, U, bias, rectify=True)
    same(gpu.winograd_conv2d(to(image), to(U), to(bias), rectify=True), F)
    same(gpu.winograd_conv2d(to(image), to(U)), winograd.winograd_conv2d(image, U))
    g = rng.standard_normal(F.shape).astype("f4")
    half = rng.standard_normal((shape[0] // 2, shape[1] // 2, 9)).astype("f4")
    for gradient, gate, pooling in [(g, None, 1), (g, F, 1), (g, F > 0, 1), (half, F > 0, 2)]:
        expected = winograd.winograd_conv2d_backward(gradient, U, gate, pooling)
        same(gpu.winograd_conv2d_backward(to(gradient), to(U), to(gate), pooling), expected)


@typed
def test_transformed_filters(rng, dtype):
    weight = rng.standard_normal((3, 3, 4, 5)).astype(dtype)
    found = winograd.transform_filters(to(weight))
    same(found, winograd.transform_filters(weight), 1e-7 if dtype == "float32" else 1e-14)


def test_winograd_in_strips_has_the_same_bits(rng, monkeypatch):
    image, gate = rng.standard_normal((18, 9, 6)).astype("f4"), rng.integers(0, 2, (18, 9, 5)) > 0
    U = to(winograd.transform_filters(rng.standard_normal((3, 3, 6, 5)).astype("f4")))
    g = to(rng.standard_normal((9, 4, 5)).astype("f4"))
    found = {}
    for strip_bytes in (1 << 29, 1 << 14):
        monkeypatch.setattr(gpu, "STRIP_BYTES", strip_bytes)
        found[strip_bytes] = [
            back(gpu.winograd_conv2d(to(image), U, rectify=True)),
            back(gpu.winograd_conv2d_backward(g, U, to(gate), 2)),
        ]
    assert gpu.winograd_rows(image.shape, 5) == 3
    for whole, strips in zip(*found.values(), strict=True):
        assert np.array_equal(whole, strips)


@typed
def test_relu_its_gate_and_back(rng, dtype):
    Z = rng.standard_normal((7, 5, 3)).astype(dtype)
    F = relu.relu(Z)
    same(gpu.relu(to(Z)), F)
    assert np.array_equal(back(gpu.relu_mask(to(F))), F > 0)
    g = rng.standard_normal(F.shape).astype(dtype)
    for activation in (F, F > 0):
        same(gpu.relu_backward(to(g), to(activation)), relu.relu_backward(g, F))
    into = to(g)
    assert gpu.relu_backward(into, to(F), out=into) is into
    same(into, relu.relu_backward(g, F))


@typed
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2)])
def test_pooling_and_back(rng, dtype, size, stride):
    image = np.maximum(rng.standard_normal((9, 10, 4)), 0).astype(dtype)
    for mode in ("avg", "max", "l2"):
        Y = getattr(pool, f"{mode}_pool2d")(image, size, stride)
        same(gpu.pool2d(mode, to(image), size, stride), Y)
        g = rng.standard_normal(Y.shape).astype(dtype)
        kept = (image.shape,) if mode == "avg" else (image, Y)
        expected = getattr(pool, f"{mode}_pool2d_backward")(g, *kept, size, stride)
        found = gpu.pool2d_backward(mode, to(g), image.shape, to(image), to(Y), size, stride)
        same(found, expected)


@typed
def test_replicated_edges_and_back(rng, dtype):
    image = rng.standard_normal((5, 6, 3)).astype(dtype)
    same(gpu.replicate(to(image), 2), pad.replicate(image, 2))
    g = rng.standard_normal((9, 10, 3)).astype(dtype)
    same(gpu.replicate_backward(to(g), 2), pad.replicate_backward(g, 2))


@typed
@pytest.mark.parametrize("guided", [False, True])
def test_style(rng, dtype, guided):
    F = np.maximum(rng.standard_normal((6, 7, 5)), 0).astype(dtype)
    same(gpu.gram(to(F)), grams.gram(F))
    G, A = (rng.standard_normal((5, 5)).astype(dtype) for _ in range(2))
    loss = gpu.sum_of_squares(to(G), to(A), 1 / (4 * 5**2))
    assert float(back(loss)[0]) == pytest.approx(float(losses.style_loss(G, A)), rel=1e-5)
    weights = rng.uniform(0, 1, (6, 7)).astype(dtype) if guided else None
    for upstream in (None, rng.standard_normal(F.shape).astype(dtype)):
        found = gpu.style_loss_backward(to(F), to(G), to(A), 3.0, to(upstream), to(weights))
        kept = None if upstream is None else upstream.copy()
        same(found, losses.style_loss_backward(F, G, A, 3.0, kept, weights))
        found = gpu.style_loss_backward(to(F), to(G), to(A), 3.0, to(upstream), to(weights), False)
        same(found, losses.style_loss_backward(F, G, A, 3.0, upstream, weights, gated=False))


@typed
def test_content_and_total_variation(rng, dtype):
    F, P = (np.maximum(rng.standard_normal((6, 7, 3)), 0).astype(dtype) for _ in range(2))
    loss = gpu.sum_of_squares(to(F), to(P), 0.5)
    assert float(back(loss)[0]) == pytest.approx(float(losses.content_loss(F, P)), rel=1e-6)
    g = rng.standard_normal(F.shape).astype(dtype)
    for gated in (True, False):
        same(
            gpu.content_loss_backward(to(F), to(P), 2.0, to(g), gated),
            losses.content_loss_backward(F, P, 2.0, g.copy(), gated=gated),
        )
    tv = float(back(gpu.total_variation(to(F)))[0])
    assert tv == pytest.approx(float(losses.total_variation(F)), rel=1e-6)
    same(
        gpu.total_variation_backward(to(F), 2.0, to(g)),
        g + 2 * losses.total_variation_backward(F),
    )


@typed
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preparation_and_back(rng, dtype, order):
    pixels, mean, scale = rng.uniform(0, 255, (5, 4, 3)), (1.0, 2.0, 3.0), (0.5, 0.25, 2.0)
    found = gpu.preprocess(to(pixels), order, mean, scale, np.dtype(dtype))
    same(found, images.preprocess(pixels, order, mean, scale, dtype))
    g = rng.standard_normal(pixels.shape).astype(dtype)
    expected = images.preprocess_backward(g, order, scale)
    same(gpu.preprocess_backward(to(g), order, scale), expected.astype(np.float64), 1e-6)


PRESETS = [("gatys", "avg"), ("paper", "max"), ("neural-style", "l2")]


@pytest.mark.parametrize("route", ["plain", "fast"])
@pytest.mark.parametrize(("preset", "pooling"), PRESETS)
@pytest.mark.parametrize("edges", ["zero", "replicate"])
def test_the_objective_on_the_card_is_that_of_numpy(
    rng, small_network, monkeypatch, route, preset, pooling, edges
):
    monkeypatch.setattr("npstyle.networks.network.WIDE", 1)
    network = configure(small_network, pooling, np.float32, edges)
    settings = replace(
        PRESETS_BY_NAME[preset], content_layers={"conv2_1": 1.0}, style_layers={"conv1_1": 1.0}
    )
    if route == "fast":
        network = accelerate(network, ["conv2_1"])
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    expected = build_objective(network, photo, painting, settings)(pixels)
    objective = build_objective(to_device(network), photo, painting, settings)
    found = objective(pixels)
    assert type(found.gradient) is np.ndarray
    assert found.parts == pytest.approx(expected.parts, rel=1e-5)
    assert np.linalg.norm(found.gradient - expected.gradient) <= 1e-5 * np.linalg.norm(
        expected.gradient
    )
    on_card = objective(to(pixels))
    assert np.array_equal(back(on_card.gradient), found.gradient)


def test_a_loss_at_pooling_that_no_relu_stands_before_sees_negative_values(rng, small_network):
    network = replace(small_network, layers=(Pool("pool0", 2, 2, "avg"), *small_network.layers))
    settings = Settings(content_layers={"pool0": 1.0}, style_layers={"pool0": 1.0})
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    expected = build_objective(network, photo, painting, settings)(pixels).gradient
    found = build_objective(to_device(network), photo, painting, settings)(pixels).gradient
    assert np.linalg.norm(found - expected) <= 1e-10 * np.linalg.norm(expected)
