import numpy as np
import pytest

from npstyle.engine.cpu.relu import relu, relu_backward, relu_mask
from tests.numeric import central_difference


def test_negative_values_become_zero_and_positive_ones_stay():
    values = np.array([[-2.0, -0.0, 0.0, 0.5, 3.0]])
    assert np.array_equal(relu(values), [[0, 0, 0, 0.5, 3]])


def test_backward_equals_central_differences_away_from_zero(rng):
    values = rng.standard_normal((4, 5, 3))
    values[np.abs(values) < 1e-3] = 0.5
    upstream = rng.standard_normal(values.shape)
    numeric = central_difference(lambda z: np.sum(upstream * relu(z)), values)
    assert np.allclose(relu_backward(upstream, relu(values)), numeric, rtol=0, atol=1e-8)


def test_the_mask_alone_gives_the_same_derivative(rng):
    values, upstream = rng.standard_normal((2, 40, 5, 3))
    values[0, 0, 0] = 0.0
    mask = relu_mask(relu(values))
    assert mask.dtype == bool
    expected = relu_backward(upstream, relu(values))
    assert np.array_equal(relu_backward(upstream, mask), expected)


def test_derivative_at_exactly_zero_is_zero():
    assert relu_backward(np.array([5.0]), relu(np.array([0.0])))[0] == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_in_place_gives_the_same_in_the_same_dtype(rng, dtype):
    values = rng.standard_normal((4, 5, 3)).astype(dtype)
    upstream = rng.standard_normal((4, 5, 3)).astype(dtype)
    activation = relu(values)
    gradient = relu_backward(upstream, activation)
    assert relu(values, out=values) is values
    assert np.array_equal(values, activation)
    assert np.array_equal(relu_backward(upstream, activation, out=upstream), gradient)
    assert gradient.dtype == activation.dtype == dtype
