import numpy as np
import pytest

from npstyle.engine.cpu.preprocessing import preprocess, preprocess_backward
from tests.numeric import central_difference


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_is_pixels_minus_mean_times_scale_in_the_channel_order(rng, order):
    pixels = rng.uniform(0, 255, (4, 5, 3))
    mean, scale = (100.0, 110.0, 120.0), (1.0, 0.5, 2.0)
    fed = preprocess(pixels, order, mean, scale, np.float64)
    for c in range(3):
        source = pixels[..., 2 - c] if order == "BGR" else pixels[..., c]
        assert np.allclose(fed[..., c], (source - mean[c]) * scale[c])
    assert preprocess(pixels, order, mean, scale, np.float32).dtype == np.float32

    upstream = rng.standard_normal(fed.shape)
    numeric = central_difference(
        lambda x: np.sum(upstream * preprocess(x, order, mean, scale, np.float64)), pixels
    )
    assert np.allclose(preprocess_backward(upstream, order, scale), numeric, rtol=0, atol=1e-6)
