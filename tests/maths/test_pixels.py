"""Preprocessing, the ReLU and the box, entry by entry and by central differences."""

import numpy as np
import pytest

from npstyle.maths import (
    mirror,
    mirror_backward,
    preprocess,
    preprocess_backward,
    relu,
    relu_backward,
)
from tests.numeric import central_difference

MEAN, SCALE = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_orders_shifts_and_scales_the_channels(rng, order):
    x = rng.uniform(0, 255, (2, 3, 3))
    z = preprocess(x, order, MEAN, SCALE)
    for channel, name in enumerate(order):
        expected = (x[..., "RGB".index(name)] - MEAN[channel]) * SCALE[channel]
        assert np.array_equal(z[..., channel], expected)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_derivative_of_preprocessing_equals_central_differences(rng, order):
    x, g = rng.uniform(0, 255, (2, 3, 3)), rng.standard_normal((2, 3, 3))
    numeric = central_difference(lambda x: np.sum(g * preprocess(x, order, MEAN, SCALE)), x)
    assert np.allclose(preprocess_backward(g, order, SCALE), numeric, rtol=0, atol=1e-6)


def test_the_relu_sets_negative_values_to_0():
    z = np.array([[-2.0, -0.0, 0.0, 0.5, 3.0]])
    assert np.array_equal(relu(z), [[0, 0, 0, 0.5, 3]])


def test_the_derivative_of_the_relu_equals_central_differences_and_is_0_at_0(rng):
    z, g = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 3))
    z[np.abs(z) < 1e-3] = 0.5
    numeric = central_difference(lambda z: np.sum(g * relu(z)), z)
    assert np.allclose(relu_backward(g, relu(z)), numeric, rtol=0, atol=1e-8)
    assert relu_backward(np.array([5.0]), relu(np.array([0.0]))) == 0


def test_the_mirror_reflects_at_the_walls_and_leaves_the_inside_alone():
    z = np.array([-600.0, -255.0, -3.0, 0.0, 100.0, 255.0, 300.0, 510.0, 520.0, 800.0])
    x = np.array([90.0, 255.0, 3.0, 0.0, 100.0, 255.0, 210.0, 0.0, 10.0, 220.0])
    assert np.array_equal(mirror(z), x)


def test_the_derivative_of_the_mirror_equals_central_differences(rng):
    z, g = rng.uniform(-800, 1000, 40), rng.standard_normal(40)
    numeric = central_difference(lambda z: np.sum(g * mirror(z)), z, 1e-3)
    assert np.allclose(mirror_backward(g, z), numeric, rtol=0, atol=1e-8)


def test_at_the_walls_the_derivative_of_the_mirror_is_that_from_inside():
    assert np.array_equal(mirror_backward(np.ones(2), np.array([0.0, 255.0])), [1, 1])
