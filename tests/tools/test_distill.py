"""The mathematics of the built-in network's training (`tools/distill.py`, `tools/crops.py`)."""

import sys
from pathlib import Path

import numpy as np
import pytest

from npstyle.engine.cpu.conv import conv2d
from npstyle.networks.architecture import vgg_architecture

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from crops import draw_crop
from distill import (
    Bridge,
    bridge_loss,
    choose_channels,
    fit_rectified,
    student_backward,
    student_forward,
)

LAYERS = vgg_architecture((2, 1))[:-1]


def slope(function, array, index, step=1e-6):
    """Central difference with respect to one entry."""
    saved = array[index]
    array[index] = saved + step
    above = function()
    array[index] = saved - step
    below = function()
    array[index] = saved
    return (above - below) / (2 * step)


@pytest.fixture
def tensors(rng):
    made = {}
    for name, channels, filters in (("conv1_1", 3, 4), ("conv1_2", 4, 5), ("conv2_1", 5, 6)):
        made[f"{name}.weight"] = rng.standard_normal((3, 3, channels, filters)) / 4
        made[f"{name}.bias"] = rng.standard_normal(filters)
    return made


def test_the_gradients_of_the_student_are_those_of_the_loss_at_fixed_maps(rng, tensors):
    image = rng.standard_normal((8, 10, 3))
    seen, inputs = student_forward(LAYERS, tensors, image)
    taught = {name: rng.standard_normal(seen[name].shape) for name in ("conv1_1", "conv2_1")}
    maps = {
        name: (
            rng.standard_normal((seen[name].shape[2], 7)),
            rng.standard_normal((seen[name].size // seen[name].shape[2], 7)),
        )
        for name in taught
    }

    def loss():
        now, _ = student_forward(LAYERS, tensors, image)
        return sum(
            bridge_loss(now[name].reshape(len(F_t), -1), F_t, M)[0]
            for name, (M, F_t) in maps.items()
        )

    at_activations = {
        name: bridge_loss(seen[name].reshape(len(F_t), -1), F_t, M)[1].reshape(seen[name].shape)
        for name, (M, F_t) in maps.items()
    }
    gradients = student_backward(LAYERS, tensors, inputs, at_activations)
    assert gradients.keys() == tensors.keys()
    for name, gradient in gradients.items():
        for flat_index in rng.integers(gradient.size, size=12):
            index = np.unravel_index(flat_index, gradient.shape)
            assert gradient[index] == pytest.approx(slope(loss, tensors[name], index), abs=1e-8)


def test_the_least_squares_map_is_the_best_and_its_unexplained_variance_is_the_loss(rng):
    F = np.maximum(rng.standard_normal((500, 4)), 0)
    F_t = F @ rng.standard_normal((4, 9)) + 0.1 * rng.standard_normal((500, 9))
    bridge = Bridge.empty(4, 9)
    bridge.add(F[:200], F_t[:200])
    bridge.add(F[200:], F_t[200:])
    M = bridge.solve()
    loss, _ = bridge_loss(F, F_t, M)
    assert loss == pytest.approx(bridge.unexplained(), rel=1e-6)
    for _ in range(20):
        other, _ = bridge_loss(F, F_t, M + 1e-3 * rng.standard_normal(M.shape))
        assert other > loss


def test_older_activations_count_less():
    bridge = Bridge.empty(2, 3)
    bridge.add(np.ones((5, 2)), np.ones((5, 3)))
    bridge.fade(0.5)
    assert (bridge.S[0, 0], bridge.T[0, 0], bridge.energy) == (2.5, 2.5, 7.5)


def test_the_chosen_channels_predict_all_others(rng):
    causes = rng.standard_normal((1000, 3)) * (1, 10, 5)
    F_t = np.concatenate([causes @ rng.standard_normal((3, 6)) * 0.1, causes], axis=1)
    chosen = choose_channels(F_t.T @ F_t, 3)
    assert len(set(chosen)) == 3
    M = np.linalg.lstsq(F_t[:, chosen], F_t, rcond=None)[0]
    assert np.allclose(F_t[:, chosen] @ M, F_t)


def test_the_fit_ignores_values_that_the_relu_removes(rng, monkeypatch):
    inputs = [rng.standard_normal((12, 14, 4)).astype("f4") for _ in range(5)]
    kernel = rng.standard_normal((3, 3, 4, 6)).astype("f4")
    bias = rng.standard_normal(6).astype("f4")
    targets = [conv2d(image, kernel, bias, padding=1) for image in inputs]
    # Negative values may be anything, since the ReLU removes them.
    hidden = [np.where(Z > 0, Z, Z * rng.uniform(0, 3, Z.shape)).astype("f4") for Z in targets]
    _, left = fit_rectified(inputs, hidden)
    monkeypatch.setattr("distill.FITS", 1)
    _, plain_least_squares = fit_rectified(inputs, hidden)
    assert left < 0.2 * plain_least_squares
    assert fit_rectified(inputs, targets)[1] < 1e-6


def test_crops_have_the_right_size_and_range_at_every_scale(rng):
    pictures = [rng.uniform(0, 255, shape) for shape in ((70, 200, 3), (300, 90, 3), (64, 64, 3))]
    crops = [draw_crop(rng, pictures, 64) for _ in range(60)]
    assert all(crop.shape == (64, 64, 3) for crop in crops)
    assert min(crop.min() for crop in crops) >= 0
    assert max(crop.max() for crop in crops) <= 255
    again = draw_crop(np.random.default_rng(3), pictures, 64)
    assert np.array_equal(again, draw_crop(np.random.default_rng(3), pictures, 64))
