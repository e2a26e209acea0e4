"""Convolution equals its formula, and its derivatives equal central differences."""

import numpy as np
import pytest

from npstyle.maths import conv2d, conv2d_backward, conv2d_backward_weights, output_size
from tests.numeric import central_difference

CASES = [
    ((5, 6, 2), (3, 3), 1, 1),
    ((5, 6, 2), (3, 3), 1, 0),
    ((7, 5, 3), (3, 3), 2, 1),
    ((7, 8, 2), (5, 3), 2, 2),
    ((6, 9, 2), (2, 4), 3, 1),
    ((4, 4, 3), (1, 1), 1, 0),
    ((5, 5, 2), (1, 1), 2, 1),
    ((3, 3, 1), (3, 3), 1, 3),
]


def printed_sum(X, K, b, s, p):
    """Z of the docstring, index by index."""
    Z = np.zeros((*output_size(X.shape, K.shape, s, p), K.shape[3]))
    for y, x, o in np.ndindex(Z.shape):
        Z[y, x, o] = b[o]
        for i, j, c in np.ndindex(K.shape[:3]):
            u, v = s * y + i - p, s * x + j - p
            if 0 <= u < X.shape[0] and 0 <= v < X.shape[1]:
                Z[y, x, o] += X[u, v, c] * K[i, j, c, o]
    return Z


@pytest.fixture
def drawn(rng, request):
    shape, size, stride, padding = request.param
    image = rng.standard_normal(shape)
    kernel = rng.standard_normal((*size, shape[2], 3))
    return image, kernel, rng.standard_normal(3), stride, padding


@pytest.mark.parametrize("drawn", CASES, indirect=True)
def test_it_equals_the_printed_sum(drawn):
    assert np.allclose(conv2d(*drawn), printed_sum(*drawn), rtol=0, atol=1e-13)


@pytest.mark.parametrize("drawn", CASES, indirect=True)
def test_the_derivatives_equal_central_differences(rng, drawn):
    image, kernel, bias, *way = drawn
    g = rng.standard_normal(conv2d(*drawn).shape)
    at_image = conv2d_backward(g, kernel, image.shape, *way)
    at_kernel, at_bias = conv2d_backward_weights(g, image, kernel.shape[:2], *way)
    for found, x, function in [
        (at_image, image, lambda x: np.sum(g * conv2d(x, kernel, bias, *way))),
        (at_kernel, kernel, lambda k: np.sum(g * conv2d(image, k, bias, *way))),
        (at_bias, bias, lambda b: np.sum(g * conv2d(image, kernel, b, *way))),
    ]:
        assert np.allclose(found, central_difference(function, x), rtol=0, atol=1e-7)


@pytest.mark.parametrize("drawn", CASES, indirect=True)
def test_the_backward_function_is_the_adjoint(rng, drawn):
    image, kernel, _, *way = drawn
    Z = conv2d(image, kernel, None, *way)
    g = rng.standard_normal(Z.shape)
    right = np.sum(image * conv2d_backward(g, kernel, image.shape, *way))
    assert np.sum(Z * g) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "kernel_shape", "stride", "says"),
    [
        ((5, 5, 3), (3, 3, 2, 4), 1, "channels in"),
        ((5, 5), (3, 3, 1, 4), 1, "expected an image"),
        ((2, 5, 3), (3, 3, 3, 4), 1, "larger than the image"),
        ((5, 5, 3), (3, 3, 3, 4), 0, "stride"),
    ],
)
def test_wrong_shapes_raise_an_error_that_names_them(shape, kernel_shape, stride, says):
    with pytest.raises(ValueError, match=says):
        conv2d(np.zeros(shape), np.zeros(kernel_shape), None, stride)
