import numpy as np
import pytest
from scipy.fft import dctn

from npstyle.maths.precondition import dct_matrix, precondition, precondition_backward, spectrum
from npstyle.search.lbfgs import minimize_lbfgs


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_cosine_transform_is_orthonormal(n):
    D = dct_matrix(n)
    assert np.allclose(D @ D.T, np.eye(n), rtol=0, atol=1e-14)


def test_the_derivative_is_the_scaled_cosine_transform_in_three_dimensions(rng):
    g, s = rng.standard_normal((5, 4, 3)), rng.uniform(1, 2, (5, 4, 3))
    expected = s * dctn(g, norm="ortho")
    assert np.allclose(precondition_backward(g, s), expected, rtol=0, atol=1e-13)


def test_the_factors_fall_between_the_two_frequencies_and_have_mean_square_1():
    whole = spectrum(64, 48, 0.5, 1 / 16, 1 / 4, (1.0, 0.8, 0.5))
    assert np.mean(whole**2) == pytest.approx(1)
    assert np.allclose(whole[..., 1:], [0.8, 0.5] * whole[..., :1], rtol=1e-14)
    s = whole[:, 0, 0]  # frequencies k / 128
    assert np.ptp(s[:9]) == 0
    assert np.ptp(s[32:]) == 0
    assert np.all(np.diff(s[8:33]) < 0)
    assert s[8] / s[32] == pytest.approx(2)  # four times the frequency, to the power 1/2


def test_an_exponent_of_0_leaves_all_frequencies_alike():
    assert np.allclose(spectrum(3, 4, 0.0, 0.1, 0.5, (2.0, 2.0)), np.ones((3, 4, 2)), rtol=1e-15)


def test_the_waves_of_the_channels_are_grey_red_against_blue_and_green_against_both():
    grey, red_blue, green = dct_matrix(3)
    assert np.ptp(grey) < 1e-15
    assert red_blue[0] == pytest.approx(-red_blue[2])
    assert red_blue[1] == pytest.approx(0, abs=1e-15)
    assert green[0] == pytest.approx(green[2])
    assert green[1] == pytest.approx(-2 * green[0])


def matrix_of_s(s):
    """S = D^T diag(s) D, from its columns."""
    units = np.eye(s.size).reshape(-1, *s.shape)
    ones = np.ones_like(s)
    columns = [precondition(precondition_backward(unit, ones), s).ravel() for unit in units]
    return np.stack(columns, axis=1)


def test_s_is_symmetric():
    S = matrix_of_s(spectrum(4, 3, 0.5, 1 / 64, 0.5, (1.0, 0.8, 0.5)))
    assert np.allclose(S, S.T, rtol=0, atol=1e-14)


def test_lbfgs_takes_the_same_steps_over_frequencies_and_over_the_rotated_pixels(rng):
    # x = D^T (s w) and x = S z describe one search, since z is w rotated.
    shape = (4, 3, 2)
    s = spectrum(*shape[:2], 0.5, 1 / 64, 0.5, (1.0, 0.7))
    S = matrix_of_s(s)
    curvature, start = rng.uniform(0.5, 5, 24), rng.standard_normal(24)

    def loss(x):
        return float(np.sum(curvature * x**2 + x**4)), 2 * curvature * x + 4 * x**3

    def over_w(w):
        value, gradient = loss(precondition(w.reshape(shape), s).ravel())
        return value, precondition_backward(gradient.reshape(shape), s).ravel()

    def over_z(z):
        value, gradient = loss(S @ z)
        return value, S @ gradient

    w = (dctn(start.reshape(shape), norm="ortho") / s).ravel()
    z = np.linalg.solve(S, start)
    found = {}
    for name, function, x in (("w", over_w, w), ("z", over_z, z)):
        points = []
        minimize_lbfgs(function, x, iterations=6, callback=points.append)
        found[name] = points
    for w, z in zip(found["w"], found["z"], strict=True):
        assert np.allclose(precondition(w.reshape(shape), s).ravel(), S @ z, rtol=0, atol=1e-8)
