"""The losses equal the paper's equations, index by index, and the derivatives differences."""

import numpy as np
import pytest

from npstyle.maths import (
    content_loss,
    content_loss_backward,
    gram,
    gram_backward,
    mean_gram,
    mean_gram_backward,
    relu,
    relu_backward,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from tests.numeric import central_difference


@pytest.fixture
def activations(rng):
    """F and P: rectified, with no positive value near the kink."""
    F, P = (relu(rng.standard_normal((4, 5, 3))) for _ in range(2))
    F[(F > 0) & (F < 1e-3)] = 0.5
    return F, P


@pytest.fixture
def guide(rng):
    w = rng.uniform(0, 1, (4, 5))
    return w / w.sum()


def test_the_content_loss_equals_equations_1_and_2(activations):
    F, P = activations
    value, gradient = 0.0, np.zeros_like(F)
    for i in np.ndindex(F.shape):
        value += 0.5 * (F[i] - P[i]) ** 2
        gradient[i] = F[i] - P[i] if F[i] > 0 else 0
    assert content_loss(F, P) == pytest.approx(value, rel=1e-13)
    through_relu = relu_backward(content_loss_backward(F, P), F)
    assert np.allclose(through_relu, gradient, rtol=0, atol=1e-14)


def test_the_gram_matrix_equals_equation_3(rng, guide):
    F = rng.standard_normal((4, 5, 3))
    rows, w = F.reshape(20, 3).T, guide.ravel()
    plain, guided = np.zeros((3, 3)), np.zeros((3, 3))
    for i, j, k in np.ndindex(3, 3, 20):
        plain[i, j] += rows[i, k] * rows[j, k]
        guided[i, j] += w[k] * rows[i, k] * rows[j, k]
    assert np.allclose(gram(F), plain, rtol=1e-13)
    assert np.allclose(mean_gram(F), plain / 20, rtol=1e-13)
    assert np.allclose(gram(F, guide), guided, rtol=1e-13)
    assert np.allclose(mean_gram(F, guide), guided, rtol=1e-13)


@pytest.mark.parametrize(
    ("function", "backward"), [(gram, gram_backward), (mean_gram, mean_gram_backward)]
)
def test_the_derivative_of_the_gram_matrix_takes_an_unsymmetric_upstream(
    rng, guide, function, backward
):
    F, D = rng.standard_normal((4, 5, 3)), rng.standard_normal((3, 3))
    for w in (None, guide):
        numeric = central_difference(lambda f, w=w: np.sum(D * function(f, w)), F)
        assert np.allclose(backward(D, F, w), numeric, rtol=0, atol=1e-7)


def test_the_style_loss_equals_equations_3_to_6(activations):
    F, S = (a.reshape(20, 3).T for a in activations)
    N, M = F.shape
    G, A = np.zeros((N, N)), np.zeros((N, N))
    for i, j, k in np.ndindex(N, N, M):
        G[i, j] += F[i, k] * F[j, k]
        A[i, j] += S[i, k] * S[j, k]
    E, dE = 0.0, np.zeros_like(F)
    for i, j in np.ndindex(N, N):
        E += (G[i, j] - A[i, j]) ** 2 / (4 * N**2 * M**2)
        for k in range(M):
            if F[i, k] > 0:
                dE[i, k] += (G[j, i] - A[j, i]) * F[j, k] / (N**2 * M**2)
    picture, target = activations[0], mean_gram(activations[1])
    assert style_loss(picture, target) == pytest.approx(E, rel=1e-12)
    gradient = relu_backward(style_loss_backward(picture, target), picture)
    assert np.allclose(gradient.reshape(20, 3).T, dE, rtol=1e-12, atol=1e-16)


def test_the_derivative_of_the_style_loss_equals_central_differences(rng, guide):
    F, A = rng.standard_normal((4, 5, 3)), mean_gram(rng.standard_normal((7, 3, 3)))
    for w in (None, guide):
        numeric = central_difference(lambda f, w=w: style_loss(f, A, w), F)
        assert np.allclose(style_loss_backward(F, A, w), numeric, rtol=0, atol=1e-8)


def test_the_total_variation_equals_the_printed_sum(rng):
    X = rng.uniform(0, 255, (4, 5, 3))
    T = 0.0
    for y, x, c in np.ndindex(X.shape):
        if x + 1 < 5:
            T += (X[y, x + 1, c] - X[y, x, c]) ** 2
        if y + 1 < 4:
            T += (X[y + 1, x, c] - X[y, x, c]) ** 2
    assert total_variation(X) == pytest.approx(T, rel=1e-13)


def test_the_derivative_of_the_total_variation_equals_central_differences(rng):
    for shape in [(4, 5, 3), (1, 5, 2), (4, 1, 1)]:
        X = rng.standard_normal(shape)
        numeric = central_difference(total_variation, X)
        assert np.allclose(total_variation_backward(X), numeric, rtol=0, atol=1e-7)


def test_every_loss_and_its_derivative_are_0_at_the_target(activations):
    F = activations[0]
    A, flat = mean_gram(F), np.full((3, 4, 3), 7.0)
    assert content_loss(F, F) == style_loss(F, A) == total_variation(flat) == 0
    assert not content_loss_backward(F, F).any()
    assert not style_loss_backward(F, A).any()
    assert not total_variation_backward(flat).any()
