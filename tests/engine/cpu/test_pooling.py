import numpy as np
import pytest

from npstyle.engine.cpu.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool2d_backward_rows,
    l2_pool2d,
    l2_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npstyle.maths.windows import output_size
from tests.numeric import central_difference

CASES = [
    ((4, 6, 3), 2, 2),
    ((5, 7, 2), 2, 2),
    ((7, 7, 2), 3, 2),
    ((8, 5, 2), 3, 1),
    ((6, 7, 1), 2, 3),
    ((4, 4, 2), 4, 4),
]


def windows(shape, size, stride):
    for y in range((shape[0] - size) // stride + 1):
        for x in range((shape[1] - size) // stride + 1):
            yield y, x, slice(y * stride, y * stride + size), slice(x * stride, x * stride + size)


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_average_and_maximum_equal_a_loop_over_windows(rng, shape, size, stride):
    image = rng.standard_normal(shape)
    average, maximum = avg_pool2d(image, size, stride), max_pool2d(image, size, stride)
    seen = 0
    for y, x, rows, columns in windows(shape, size, stride):
        assert np.allclose(average[y, x], image[rows, columns].mean(axis=(0, 1)), rtol=1e-13)
        assert np.array_equal(maximum[y, x], image[rows, columns].max(axis=(0, 1)))
        seen += 1
    assert seen == average.shape[0] * average.shape[1]


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_backward_equals_central_differences(rng, shape, size, stride):
    image = rng.standard_normal(shape)
    pooled = max_pool2d(image, size, stride)
    upstream = rng.standard_normal(pooled.shape)
    average = central_difference(lambda x: np.sum(upstream * avg_pool2d(x, size, stride)), image)
    maximum = central_difference(lambda x: np.sum(upstream * max_pool2d(x, size, stride)), image)
    to_average = avg_pool2d_backward(upstream, image.shape, size, stride)
    to_maximum = max_pool2d_backward(upstream, image, pooled, size, stride)
    assert np.allclose(to_average, average, rtol=0, atol=1e-8)
    assert np.allclose(to_maximum, maximum, rtol=0, atol=1e-8)


def test_trailing_row_and_column_of_odd_sizes_take_no_part(rng):
    image = rng.standard_normal((5, 7, 2))
    pooled = max_pool2d(image)
    assert pooled.shape == avg_pool2d(image).shape == (2, 3, 2)
    upstream = np.ones(pooled.shape)
    gradients = (
        avg_pool2d_backward(upstream, image.shape),
        max_pool2d_backward(upstream, image, pooled),
    )
    for gradient in gradients:
        assert not gradient[4].any()
        assert not gradient[:, 6].any()
        assert gradient[:4, :6].sum() == pytest.approx(12)


@pytest.mark.parametrize("shape", [(6, 8, 2), (7, 9, 2), (5, 4, 3)])
@pytest.mark.parametrize("size", [2, 3])
def test_rows_of_the_backward_pass_are_those_of_the_whole(rng, shape, size):
    gradient = rng.standard_normal((*output_size(shape, (size, size), size), shape[2]))
    whole = avg_pool2d_backward(gradient, shape, size)
    for first, end in [(0, shape[0]), (1, 4), (2, 5), (shape[0] - 1, shape[0])]:
        rows = np.full((end - first, *shape[1:]), np.nan)
        avg_pool2d_backward_rows(gradient, rows, first, size)
        assert np.allclose(rows, whole[first:end], rtol=1e-15)


def test_a_tie_gives_the_whole_gradient_to_the_first_winner():
    image = np.array([[1.0, 3.0], [3.0, 3.0]])[..., None]
    gradient = max_pool2d_backward(np.full((1, 1, 1), 2.0), image, max_pool2d(image))
    assert np.array_equal(gradient[..., 0], [[0, 2], [0, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(rng, dtype):
    image = rng.standard_normal((4, 5, 2)).astype(dtype)
    for pooled in (avg_pool2d(image), max_pool2d(image)):
        assert pooled.dtype == dtype
    assert avg_pool2d_backward(pooled, image.shape).dtype == dtype
    assert max_pool2d_backward(pooled, image, pooled).dtype == dtype


def test_a_window_larger_than_the_image_raises_an_error():
    with pytest.raises(ValueError, match="larger than the image"):
        avg_pool2d(np.zeros((1, 4, 2)))


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_l2_is_the_root_mean_square_of_each_window(rng, shape, size, stride):
    image = rng.standard_normal(shape)
    pooled = l2_pool2d(image, size, stride)
    for y, x, rows, columns in windows(shape, size, stride):
        mean = np.mean(image[rows, columns] ** 2, axis=(0, 1))
        assert pooled[y, x] == pytest.approx(np.sqrt(mean), rel=1e-13)
    upstream = rng.standard_normal(pooled.shape)
    numeric = central_difference(lambda x: np.sum(upstream * l2_pool2d(x, size, stride)), image)
    assert np.allclose(
        l2_pool2d_backward(upstream, image, pooled, size, stride), numeric, atol=1e-7
    )


def test_l2_lies_between_average_and_maximum_of_activations(rng):
    image = np.maximum(rng.standard_normal((8, 8, 3)), 0)
    average, root, largest = avg_pool2d(image), l2_pool2d(image), max_pool2d(image)
    assert np.all(average <= root + 1e-12)
    assert np.all(root <= largest + 1e-12)


def test_l2_gradient_of_a_window_of_zeros_is_0():
    image = np.zeros((2, 2, 1))
    gradient = l2_pool2d_backward(np.ones((1, 1, 1)), image, l2_pool2d(image))
    assert np.array_equal(gradient, np.zeros((2, 2, 1)))
