import numpy as np
import pytest

from npstyle.engine.cpu.padding import replicate_pad, replicate_pad_backward
from tests.numeric import central_difference


def test_the_edge_is_continued(rng):
    image = rng.standard_normal((2, 3, 1))
    padded = replicate_pad(image, 2)
    rows, columns = [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 2, 2, 2]
    assert np.array_equal(padded, image[rows][:, columns])


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_the_derivative_is_that_of_the_formula(rng, padding):
    image = rng.standard_normal((2, 3, 2))
    upstream = rng.standard_normal(replicate_pad(image, padding).shape)
    numeric = central_difference(lambda x: np.sum(upstream * replicate_pad(x, padding)), image)
    assert replicate_pad_backward(upstream, padding) == pytest.approx(numeric, rel=1e-6, abs=1e-7)
