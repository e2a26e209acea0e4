import numpy as np
import pytest

from npstyle.images.formula import draw_painting, draw_photo


@pytest.mark.parametrize("draw", [draw_photo, draw_painting])
def test_pictures_have_the_requested_size_and_depend_on_the_seed(draw):
    picture = draw(48, 64, 3)
    assert picture.shape == (48, 64, 3)
    assert picture.min() >= 0
    assert picture.max() <= 255
    assert picture.std() > 30
    assert np.array_equal(picture, draw(48, 64, 3))
    assert not np.array_equal(picture, draw(48, 64, 4))


@pytest.mark.parametrize("draw", [draw_photo, draw_painting])
def test_a_single_pixel_can_be_drawn(draw):
    assert np.all(np.isfinite(draw(1, 1)))
