"""The size of a picture, and resizing."""

import numpy as np
import pytest
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.read import load_image
from npstyle.images.resize import fit_size, resize
from tests.images.files import COLORS, write


def test_size_is_the_longest_side_and_the_aspect_ratio_is_kept(tmp_path):
    path = write(tmp_path / "a.png", Image.new("RGB", (300, 200)))
    assert load_image(path, 150).shape == (100, 150, 3)
    assert load_image(path, 600).shape == (400, 600, 3)
    assert fit_size(1, 1000, 10) == (1, 10)
    assert resize(np.zeros((30, 20, 3)), 15).shape == (15, 10, 3)
    assert np.array_equal(load_image(path, 150), resize(load_image(path), (100, 150)))


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_pixel_is_refused(tmp_path, size):
    path = write(tmp_path / "a.png", Image.fromarray(COLORS))
    with pytest.raises(InputError, match=f"size {size}"):
        load_image(path, size)


def test_resizing_is_not_rounded_to_8_bits():
    ramp = np.repeat(np.linspace(100, 101, 64)[None, :, None], 3, axis=2)
    small = resize(np.repeat(ramp, 8, axis=0), (4, 32))
    # The mean of each pair of neighbours, away from the borders.
    assert np.allclose(
        small[1, 4:-4, 0], ramp[0, :, 0].reshape(32, 2).mean(axis=1)[4:-4], atol=1e-4
    )


def test_shrinking_averages_over_the_whole_window():
    stripes = np.zeros((256, 256, 3))
    stripes[:, ::2] = 200
    assert np.allclose(resize(stripes, 8)[:, 1:-1], 100, atol=0.5)


def test_resizing_keeps_constants_and_the_mean_and_stays_in_range(rng):
    assert np.allclose(resize(np.full((20, 30, 3), 77.0), (13, 19)), 77)
    pixels = rng.uniform(0, 255, (64, 64, 3))
    small = resize(pixels, (16, 16))
    assert np.allclose(small.mean(), pixels.mean(), atol=1)
    steps = resize(np.kron(COLORS, np.ones((8, 8, 1))), (37, 41))
    assert steps.min() >= 0
    assert steps.max() <= 255
