import numpy as np
from PIL import Image

from npstyle.atlas.heatmaps import DIVERGING, LEAST_SIDE, SEQUENTIAL, Album


def colors(tmp_path, figure):
    return np.asarray(Image.open(tmp_path / figure.file).convert("RGB"))


def album(tmp_path):
    (tmp_path / "figures").mkdir()
    return Album(tmp_path / "figures")


def test_a_heat_map_goes_from_the_first_colour_to_the_last(tmp_path):
    figure = album(tmp_path).heat("a", np.array([[0.0, 5.0], [9.0, 2.5]]), 5.0, "", "")
    pixels = colors(tmp_path, figure)
    assert tuple(pixels[0, 0]) == SEQUENTIAL[0]
    assert tuple(pixels[0, -1]) == SEQUENTIAL[-1]
    assert tuple(pixels[-1, 0]) == SEQUENTIAL[-1]  # beyond the limit


def test_zero_is_white_in_a_signed_map(tmp_path):
    figure = album(tmp_path).signed("a", np.array([[-2.0, 0.0, 2.0]]), 2.0, "", "")
    pixels = colors(tmp_path, figure)
    assert tuple(pixels[0, 0]) == DIVERGING[0]
    assert tuple(pixels[0, -1]) == DIVERGING[-1]
    assert min(pixels[0, pixels.shape[1] // 2]) > 240


def test_a_small_map_is_enlarged_by_a_whole_factor(tmp_path):
    figure = album(tmp_path).heat("a", np.eye(7), 1.0, "caption", "alt")
    assert figure.width == figure.height == 7 * -(-LEAST_SIDE // 7)
    assert (figure.caption, figure.alt, figure.file) == ("caption", "alt", "figures/a.png")
    pixels = colors(tmp_path, figure)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 2


def test_a_map_of_zeros_can_be_drawn(tmp_path):
    figure = album(tmp_path).heat("a", np.zeros((3, 4)), 0.0, "", "")
    assert tuple(colors(tmp_path, figure)[0, 0]) == SEQUENTIAL[0]
