"""Upsampling and convolution as one convolution of the small image."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine.feedforward.subpixel import (
    merged,
    split,
    subpixel_kernel,
    subpixel_kernel_backward,
)


def test_it_equals_upsampling_and_convolution_at_every_pixel(rng):
    x, K = rng.standard_normal((5, 4, 3)), rng.standard_normal((3, 3, 3, 2))
    large = maths.reflect_pad(maths.upsample(x, 2), 1)
    small = maths.replicate_pad(x, 1)
    found = merged(maths.conv2d(small, subpixel_kernel(K)))
    assert np.allclose(found, maths.conv2d(large, K), rtol=0, atol=1e-13)


def test_the_derivative_of_the_kernel_is_the_adjoint(rng):
    K, G = rng.standard_normal((3, 3, 3, 2)), rng.standard_normal((3, 3, 3, 8))
    right = np.sum(K * subpixel_kernel_backward(G))
    assert np.sum(subpixel_kernel(K) * G) == pytest.approx(right, rel=1e-12)


def test_splitting_is_the_inverse_of_merging(rng):
    phases = rng.standard_normal((3, 5, 8))
    assert np.array_equal(split(merged(phases)), phases)
