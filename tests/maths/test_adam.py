"""Adam's steps are those of the page: sums of all gradients, and steps of almost equal length."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.lab.training import adam_steps
from npstyle.maths.adam import BETA_1, BETA_2, EPSILON


def test_m_and_v_are_the_sums_written_out(rng):
    g = rng.standard_normal((30, 5))
    m, v, _ = adam_steps(g)
    t = len(g)
    assert np.allclose(m, (1 - BETA_1) * sum(BETA_1 ** (t - k) * g[k - 1] for k in range(1, t + 1)))
    squares = sum(BETA_2 ** (t - k) * g[k - 1] ** 2 for k in range(1, t + 1))
    assert np.allclose(v, (1 - BETA_2) * squares)


@pytest.mark.parametrize("scale", [1e-9, 1e-8, 1.0, 1e6])
@pytest.mark.parametrize("steps", [1, 2, 10, 2000])
def test_for_a_constant_gradient_every_direction_is_g_over_its_size(rng, scale, steps):
    g = scale * rng.standard_normal(6)
    _, _, direction = adam_steps(np.tile(g, (steps, 1)))
    assert np.allclose(direction, g / (np.abs(g) + EPSILON), rtol=1e-10)


def test_a_gradient_that_alternates_moves_little(rng):
    g = rng.standard_normal(6)
    signs = (-1.0) ** np.arange(200)
    _, _, direction = adam_steps(signs[:, None] * g)
    assert np.all(np.abs(direction) < 0.06)


def test_a_gradient_of_0_moves_nothing():
    zeros = np.zeros(3)
    assert np.array_equal(adam_steps(np.tile(zeros, (3, 1)))[2], zeros)


def test_the_arrays_of_the_step_before_stay_as_they_are(rng):
    g, m, v = rng.standard_normal((3, 4))
    v = v**2
    before = m.copy(), v.copy(), g.copy()
    maths.adam_direction(g, m, v, 3)
    for array, kept in zip((m, v, g), before, strict=True):
        assert np.array_equal(array, kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_dtype_is_kept(dtype):
    ones = np.ones(3, dtype)
    assert all(array.dtype == dtype for array in maths.adam_direction(ones, ones, ones, 2))
