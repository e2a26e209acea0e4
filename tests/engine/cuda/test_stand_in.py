"""The stand-in for CuPy refuses what CuPy refuses, and has CuPy's layouts."""

import operator

import numpy as np
import pytest

from npstyle.engine import cuda
from npstyle.engine.cuda import arrays
from npstyle.engine.cuda import launch as kernels
from tests.engine.cuda.gpus import CUPY, back, needed, to

pytestmark = needed


@pytest.fixture
def matrix():
    return to(np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        lambda x: x + np.ones((3, 4)),
        lambda x: np.ones((3, 4)) * x,
        lambda x: operator.iadd(x, np.ones((3, 4))),
        lambda x: np.vdot(x, np.ones((3, 4))),
        lambda x: arrays.matmul(x, np.ones((4, 2))),
        lambda x: arrays.matmul(np.ones((2, 3)), x),
        lambda x: x.__setitem__(..., np.ones((3, 4))),
    ],
)
def test_arrays_of_the_host_and_of_the_gpu_do_not_mix(matrix, use):
    with pytest.raises((TypeError, ValueError, AttributeError, AssertionError)):
        use(matrix)


def test_layouts(matrix):
    assert not isinstance(matrix, np.ndarray)
    turned = to(np.arange(12.0).reshape(3, 4).T)
    assert turned.flags.f_contiguous
    assert turned.astype(np.float32).flags.f_contiguous
    assert (turned * 2.0).flags.c_contiguous
    assert turned.copy().flags.c_contiguous
    assert turned.ravel().flags.c_contiguous
    assert np.array_equal(back(turned.ravel()), back(turned).ravel())
    assert cuda.place(turned).flags.c_contiguous


def test_the_cosine_transform_is_strided_and_its_inverse_is_not(rng):
    x, s = (to(rng.standard_normal((4, 5, 3)).astype("f4")) for _ in range(2))
    assert not cuda.precondition_backward(x, s).flags.c_contiguous
    assert cuda.precondition(x, s).flags.c_contiguous


def test_kernels_refuse_strided_arrays(matrix):
    with pytest.raises(ValueError, match="relu_float64: an array is not C-contiguous"):
        cuda.relu(matrix.T)


@pytest.mark.skipif(CUPY is not None, reason="on a GPU the result would be undefined")
def test_kernels_refuse_what_the_gpu_would_misread(matrix):
    shape = kernels.elementwise("relu_float64", 12)
    with pytest.raises(TypeError, match="float32"):  # an array in another precision
        arrays.launch("relu", shape, matrix.astype(np.float32), matrix, np.int64(12))
    with pytest.raises(TypeError, match="int32"):  # a number of another size
        arrays.launch("relu", shape, matrix, matrix, 12)
    with pytest.raises(AssertionError, match="misaligned"):
        cuda.winograd_conv2d(to(np.zeros((5, 3, 2), "f4"))[1:], to(np.zeros((36, 2, 4), "f4")))
