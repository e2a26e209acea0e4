"""Checkerboards: the printed sums, their derivative, and what counts as one."""

import numpy as np
import pytest

from npstyle.maths.checkerboard import checkerboard_loss, checkerboard_loss_backward
from tests.numeric import central_difference

P, SIDE = 2, 4


def test_the_loss_equals_the_printed_sums(rng):
    X = rng.uniform(0, 255, (9, 12, 2))
    n, E = (SIDE // P) ** 2, 0.0
    for top in (0, 4):
        for left in (0, 4, 8):
            for window in np.moveaxis(X[top : top + SIDE, left : left + SIDE], 2, 0):
                R = [[window[i::P, j::P].sum() / n for j in range(P)] for i in range(P)]
                m = np.mean(R)
                E += n * sum((r - m) ** 2 for row in R for r in row)
    assert checkerboard_loss(X, P, SIDE) == pytest.approx(E, rel=1e-13)


def test_the_derivative_equals_central_differences_and_is_0_beyond_the_windows(rng):
    X = rng.uniform(0, 255, (5, 11, 2))
    gradient = checkerboard_loss_backward(X, P, SIDE)
    numeric = central_difference(lambda x: checkerboard_loss(x, P, SIDE), X)
    assert np.allclose(gradient, numeric, rtol=0, atol=1e-5)
    assert gradient[:4, :8].any()
    assert not gradient[4:].any()
    assert not gradient[:, 8:].any()


def test_a_pattern_of_the_cells_counts_with_its_squared_length_and_others_hardly(rng):
    y, x = np.mgrid[:32, :32][..., None]
    lines = 10 * np.sin(2 * np.pi * y / 4) + 0 * x
    assert checkerboard_loss(lines + 100, 4, 32) == pytest.approx(np.sum(lines**2), rel=1e-12)
    for other in (
        np.sin(2 * np.pi * y / 5),
        np.sin(2 * np.pi * x / 3),
        rng.standard_normal(y.shape),
    ):
        strokes = 10 * other + 0 * (x + y)
        assert checkerboard_loss(strokes, 4, 32) < 0.05 * np.sum(strokes**2)


def test_a_step_against_the_derivative_removes_the_pattern_and_nothing_else(rng):
    board = np.tile(rng.standard_normal((4, 4, 3)), (8, 8, 1))
    board -= board.mean(axis=(0, 1))
    plain = rng.uniform(0, 255, (32, 32, 3))
    plain -= checkerboard_loss_backward(plain, 4, 32) / 2
    assert checkerboard_loss(plain, 4, 32) < 1e-20
    picture = plain + board
    assert np.allclose(
        picture - checkerboard_loss_backward(picture, 4, 32) / 2, plain, rtol=0, atol=1e-12
    )


def test_a_picture_smaller_than_a_window_has_none(rng):
    X = rng.uniform(0, 255, (3, 9, 3))
    assert checkerboard_loss(X, P, SIDE) == 0
    assert not checkerboard_loss_backward(X, P, SIDE).any()
