"""Pooling equals a loop over windows, and its derivatives equal central differences."""

import numpy as np
import pytest

from npstyle.maths import (
    avg_pool2d,
    avg_pool2d_backward,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_winners,
)
from tests.numeric import central_difference

CASES = [
    ((4, 6, 3), 2, 2),
    ((5, 7, 2), 2, 2),
    ((7, 7, 2), 3, 2),
    ((8, 5, 2), 3, 1),
    ((6, 7, 1), 2, 3),
    ((4, 4, 2), 4, 4),
]


def average_backward(g, image, *way):
    return avg_pool2d_backward(g, image.shape, *way)


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_pooling_equals_a_loop_over_windows(rng, shape, size, stride):
    X = rng.standard_normal(shape)
    average, maximum = avg_pool2d(X, size, stride), max_pool2d(X, size, stride)
    root, winners = l2_pool2d(X, size, stride), max_pool2d_winners(X, size, stride)
    height, width = ((n - size) // stride + 1 for n in shape[:2])
    assert average.shape == maximum.shape == root.shape == (height, width, shape[2])
    for y, x, c in np.ndindex(average.shape):
        window = X[y * stride : y * stride + size, x * stride : x * stride + size, c]
        assert average[y, x, c] == pytest.approx(window.mean(), rel=1e-12, abs=1e-14)
        assert maximum[y, x, c] == window.max()
        assert root[y, x, c] == pytest.approx(np.sqrt((window**2).mean()), rel=1e-13)
        assert winners[y, x, c] == window.ravel().argmax()


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
@pytest.mark.parametrize(
    ("pool", "pool_backward"),
    [
        (avg_pool2d, average_backward),
        (max_pool2d, max_pool2d_backward),
        (l2_pool2d, l2_pool2d_backward),
    ],
)
def test_the_derivative_equals_central_differences(rng, pool, pool_backward, shape, size, stride):
    X = rng.standard_normal(shape)
    g = rng.standard_normal(pool(X, size, stride).shape)
    numeric = central_difference(lambda x: np.sum(g * pool(x, size, stride)), X)
    assert np.allclose(pool_backward(g, X, size, stride), numeric, rtol=0, atol=1e-7)


def test_the_stride_is_the_window_by_default(rng):
    X = rng.standard_normal((7, 6, 2))
    for pool in (avg_pool2d, max_pool2d, l2_pool2d):
        assert np.array_equal(pool(X, 3), pool(X, 3, 3))


@pytest.mark.parametrize("backward", [average_backward, max_pool2d_backward, l2_pool2d_backward])
def test_the_last_row_and_column_of_odd_sizes_get_no_gradient(rng, backward):
    gradient = backward(np.ones((2, 3, 2)), np.abs(rng.standard_normal((5, 7, 2))))
    assert not gradient[4].any()
    assert not gradient[:, 6].any()
    assert gradient[:4, :6].any(axis=2).sum() >= 6


def test_a_tie_gives_the_whole_gradient_to_the_first_winner():
    image = np.array([[1.0, 3.0], [3.0, 3.0]])[..., None]
    gradient = max_pool2d_backward(np.full((1, 1, 1), 2.0), image)
    assert np.array_equal(gradient[..., 0], [[0, 2], [0, 0]])


def test_the_l2_gradient_of_a_window_of_zeros_is_0():
    gradient = l2_pool2d_backward(np.ones((1, 1, 1)), np.zeros((2, 2, 1)))
    assert np.array_equal(gradient, np.zeros((2, 2, 1)))


@pytest.mark.parametrize("pool", [avg_pool2d, max_pool2d, l2_pool2d, max_pool2d_winners])
def test_a_window_larger_than_the_image_raises_an_error(pool):
    with pytest.raises(ValueError, match="larger than the image"):
        pool(np.zeros((1, 4, 2)))
