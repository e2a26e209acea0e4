"""Windows and padding equal their formulas, and the derivatives central differences."""

import numpy as np
import pytest

from npstyle.maths import (
    output_size,
    replicate_pad,
    replicate_pad_backward,
    windows,
    zero_pad,
    zero_pad_backward,
)
from tests.numeric import central_difference


@pytest.mark.parametrize(("size", "stride"), [((2, 2), 2), ((3, 2), 1), ((1, 1), 1), ((2, 3), 3)])
def test_a_slice_holds_one_place_of_every_window(rng, size, stride):
    X = rng.standard_normal((6, 7, 2))
    places = []
    for (i, j), view in windows(X, size, stride):
        assert view.shape == (*output_size(X.shape, size, stride), 2)
        for y, x in np.ndindex(view.shape[:2]):
            assert np.array_equal(view[y, x], X[stride * y + i, stride * x + j])
        places.append((i, j))
    assert places == list(np.ndindex(size))


def test_adding_to_a_slice_adds_to_the_image():
    X = np.zeros((3, 3, 1))
    for _, view in windows(X, (2, 2), 1):
        view += 1
    assert np.array_equal(X[..., 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding", "expected"),
    [
        ((5, 7), (2, 2), 2, 0, (2, 3)),
        ((5, 7), (3, 3), 1, 1, (5, 7)),
        ((4, 4), (4, 4), 1, 0, (1, 1)),
    ],
)
def test_output_sizes_round_down(shape, size, stride, padding, expected):
    assert output_size(shape, size, stride, padding) == expected


@pytest.mark.parametrize(("stride", "says"), [(0, "stride must be 1"), (1, "larger than the")])
def test_impossible_windows_raise_an_error(stride, says):
    with pytest.raises(ValueError, match=says):
        output_size((2, 5), (3, 3), stride)


def test_zero_padding_surrounds_the_image_with_zeros(rng):
    X = rng.standard_normal((2, 3, 2))
    Y = zero_pad(X, 2)
    assert Y.shape == (6, 7, 2)
    assert np.array_equal(Y[2:4, 2:5], X)
    assert np.abs(Y).sum() == pytest.approx(np.abs(X).sum())


def test_replicate_padding_continues_the_edge(rng):
    X = rng.standard_normal((2, 3, 1))
    rows, columns = [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 2, 2, 2]
    assert np.array_equal(replicate_pad(X, 2), X[rows][:, columns])


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize(
    ("pad", "pad_backward"),
    [(zero_pad, zero_pad_backward), (replicate_pad, replicate_pad_backward)],
)
def test_the_derivative_of_padding_equals_central_differences(rng, pad, pad_backward, padding):
    X = rng.standard_normal((2, 3, 2))
    g = rng.standard_normal(pad(X, padding).shape)
    numeric = central_difference(lambda x: np.sum(g * pad(x, padding)), X)
    assert pad_backward(g, padding) == pytest.approx(numeric, rel=1e-6, abs=1e-7)
