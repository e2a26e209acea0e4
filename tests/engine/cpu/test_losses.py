import numpy as np
import pytest

from npstyle.engine.cpu.gram import mean_gram
from npstyle.engine.cpu.losses import (
    content_loss,
    content_loss_backward,
    gram_loss,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from npstyle.engine.cpu.relu import relu, relu_backward
from tests.numeric import central_difference


@pytest.fixture
def activations(rng):
    """F and P or A's activations: rectified, with values well away from the kink."""
    F, P = (relu(rng.standard_normal((4, 5, 3))) for _ in range(2))
    F[(F > 0) & (F < 1e-3)] = 0.5
    return F, P


def test_content_equals_equation_1_and_2_printed_index_by_index(activations):
    F, P = activations
    value, gradient = 0.0, np.zeros_like(F)
    for i in np.ndindex(F.shape):
        value += 0.5 * (F[i] - P[i]) ** 2
        gradient[i] = F[i] - P[i] if F[i] > 0 else 0
    assert content_loss(F, P) == pytest.approx(value, rel=1e-13)
    # The paper's condition is the derivative of the ReLU before the loss.
    found = relu_backward(content_loss_backward(F, P), F)
    assert np.allclose(found, gradient, rtol=0, atol=1e-14)


def test_style_equals_equations_3_to_6_printed_index_by_index(activations):
    F, S = (a.reshape(20, 3).T for a in activations)
    N, M = F.shape
    G, A = np.zeros((N, N)), np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            for k in range(M):
                G[i, j] += F[i, k] * F[j, k]
                A[i, j] += S[i, k] * S[j, k]
    E, dE = 0.0, np.zeros_like(F)
    for i in range(N):
        for j in range(N):
            E += (G[i, j] - A[i, j]) ** 2 / (4 * N**2 * M**2)
            for k in range(M):
                if F[i, k] > 0:
                    dE[i, k] += (G[j, i] - A[j, i]) * F[j, k] / (N**2 * M**2)
    gram, target = (mean_gram(a) for a in activations)
    assert gram_loss(gram, target) == pytest.approx(E, rel=1e-12)
    assert style_loss(activations[0], target) == pytest.approx(E, rel=1e-12)
    gradient = relu_backward(style_loss_backward(activations[0], target), activations[0])
    gradient = gradient.reshape(20, 3).T
    assert np.allclose(gradient, dE, rtol=1e-12, atol=1e-16)


def test_style_of_a_painting_with_another_size_equals_central_differences(rng, activations):
    F = activations[0]
    target = mean_gram(relu(rng.standard_normal((7, 3, 3))))
    numeric = central_difference(lambda f: style_loss(f, target), F)
    assert np.allclose(style_loss_backward(F, target), numeric, rtol=0, atol=1e-9)
    known = style_loss_backward(F, target, gram=mean_gram(F))
    assert np.array_equal(known, style_loss_backward(F, target))


def test_total_variation_equals_the_printed_sum_and_central_differences(rng):
    X = rng.standard_normal((4, 5, 3))
    T = 0.0
    for y, x, c in np.ndindex(X.shape):
        if x + 1 < 5:
            T += (X[y, x + 1, c] - X[y, x, c]) ** 2
        if y + 1 < 4:
            T += (X[y + 1, x, c] - X[y, x, c]) ** 2
    assert total_variation(X) == pytest.approx(T, rel=1e-13)
    numeric = central_difference(total_variation, X)
    assert np.allclose(total_variation_backward(X), numeric, rtol=0, atol=1e-7)


def test_every_loss_and_gradient_is_zero_at_its_target(activations):
    F = activations[0]
    gram = mean_gram(F)
    flat = np.full((3, 4, 3), 7.0)
    assert content_loss(F, F) == gram_loss(gram, gram) == total_variation(flat) == 0
    assert not content_loss_backward(F, F).any()
    assert not style_loss_backward(F, gram).any()
    assert not total_variation_backward(flat).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_gradients_keep_the_dtype_and_values_have_float64_at_least(rng, dtype):
    F, P = (relu(rng.standard_normal((4, 5, 3))).astype(dtype) for _ in range(2))
    assert content_loss_backward(F, P).dtype == dtype
    assert style_loss_backward(F, mean_gram(P)).dtype == dtype
    assert total_variation_backward(F).dtype == dtype
    assert np.asarray(content_loss(F, P)).dtype.itemsize >= 8


def test_total_variation_does_not_depend_on_the_strips(rng, monkeypatch):
    X, upstream = rng.uniform(0, 255, (2, 11, 4, 3))
    value, gradient = total_variation(X), total_variation_backward(X)
    monkeypatch.setattr("npstyle.engine.cpu.losses.TV_ROWS", 3)
    assert total_variation(X) == pytest.approx(value, rel=1e-13)
    assert np.allclose(total_variation_backward(X), gradient, rtol=0, atol=1e-12)
    expected = upstream + gradient / 4
    assert np.allclose(total_variation_backward(X, 1 / 4, upstream), expected, rtol=0, atol=1e-12)
