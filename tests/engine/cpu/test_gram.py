import sys

import numpy as np
import pytest

from npstyle.engine.cpu.gram import gram, gram_backward
from npstyle.engine.threads import use_threads
from tests.numeric import central_difference


def test_equals_the_printed_sum(rng):
    activation = rng.standard_normal((3, 4, 5))
    F = activation.reshape(12, 5).T
    G = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            for k in range(12):
                G[i, j] += F[i, k] * F[j, k]
    assert np.allclose(gram(activation), G, rtol=1e-13)


def test_backward_equals_central_differences_for_an_unsymmetric_upstream(rng):
    activation = rng.standard_normal((3, 4, 5))
    upstream = rng.standard_normal((5, 5))
    numeric = central_difference(lambda f: np.sum(upstream * gram(f)), activation)
    assert np.allclose(gram_backward(upstream, activation), numeric, rtol=0, atol=1e-7)


def test_strips_and_threads_do_not_change_a_bit(rng, monkeypatch):
    activation = rng.standard_normal((30, 20, 5))
    upstream = rng.standard_normal((5, 5))
    monkeypatch.setattr(sys.modules["npstyle.engine.cpu.gram"], "STRIP_POSITIONS", 100)
    with use_threads(1):
        alone = gram(activation), gram_backward(upstream, activation)
    with use_threads(2):
        assert np.array_equal(gram(activation), alone[0])
        assert np.array_equal(gram_backward(upstream, activation), alone[1])
    assert np.allclose(alone[0], np.einsum("yxi,yxj->ij", activation, activation), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(rng, dtype):
    activation = rng.standard_normal((3, 4, 5)).astype(dtype)
    matrix = gram(activation)
    assert matrix.dtype == gram_backward(matrix, activation).dtype == dtype
