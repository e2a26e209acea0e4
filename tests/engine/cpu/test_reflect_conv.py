"""Convolution of a mirrored image: every way through it, in one strip and in many."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine.cpu import reflect_conv
from npstyle.engine.cpu.reflect_conv import reflect_conv2d, reflect_conv2d_backward
from npstyle.engine.threads import use_threads
from tests.numeric import relative_error

CASES = [
    ((9, 9), 1, 4, 3, 16),  # by taps, plane by plane
    ((3, 3), 2, 1, 4, 5),
    ((3, 3), 1, 1, 9, 16),  # by taps, pixel by pixel
    ((3, 5), 2, 2, 8, 4),
    ((9, 9), 1, 4, 3, 8),  # by rows of the kernel
    ((5, 3), 1, 1, 9, 2),
]
"""Kernel size, stride, padding, channels in and out."""


def drawn(rng, size, stride, padding, channels, filters):
    x, K = rng.standard_normal((37, 29, channels)), rng.standard_normal((*size, channels, filters))
    b = rng.standard_normal(filters)
    return x, K, b, maths.conv2d(maths.reflect_pad(x, padding), K, b, stride)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strip_bytes", [1, 1 << 14, 1 << 20])
def test_it_is_the_textbooks_convolution_of_the_mirrored_image(rng, monkeypatch, case, strip_bytes):
    monkeypatch.setattr(reflect_conv, "STRIP_BYTES", strip_bytes)
    x, K, b, Z = drawn(rng, *case)
    found = reflect_conv2d(x, K, b, case[1], case[2])
    assert relative_error(found, Z) <= 1e-13
    rectified = reflect_conv2d(x, K, b, case[1], case[2], rectify=True)
    assert relative_error(rectified, maths.relu(Z)) <= 1e-13


@pytest.mark.parametrize("case", CASES)
def test_the_backward_function_is_the_adjoint(rng, case):
    x, K, _, Z = drawn(rng, *case)
    g = rng.standard_normal(Z.shape)
    way = case[1], case[2]
    linear = reflect_conv2d(x, K, np.zeros(K.shape[3]), *way)
    right = np.sum(x * reflect_conv2d_backward(g, K, x.shape, *way))
    assert np.sum(g * linear) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_number_of_threads_does_not_matter(rng, monkeypatch, case):
    monkeypatch.setattr(reflect_conv, "STRIP_BYTES", 1 << 14)
    x, K, b, _ = drawn(rng, *case)
    arrays = [array.astype(np.float32) for array in (x, K, b)]
    one = reflect_conv2d(*arrays, case[1], case[2])
    with use_threads(3):
        assert np.array_equal(reflect_conv2d(*arrays, case[1], case[2]), one)


def test_an_image_too_small_to_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="too few to be mirrored by 4"):
        reflect_conv2d(np.zeros((4, 9, 3)), np.zeros((9, 9, 3, 2)), np.zeros(2), 1, 4)
