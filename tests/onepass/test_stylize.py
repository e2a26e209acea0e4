import numpy as np
import pytest

from npstyle import maths
from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.onepass.styles import load_named
from npstyle.onepass.stylize import (
    bind_style_network,
    blended_code,
    paint,
    paint_backward,
    read_code,
    stylize,
)
from tests.numeric import relative_error


@pytest.fixture(scope="module")
def any_style():
    return bind_style_network(load_named("any_style"))


@pytest.fixture(scope="module")
def multistyle():
    return bind_style_network(load_named("multistyle26"))


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (16, 16), (19, 64)])
def test_the_picture_has_the_size_of_the_photo(multistyle, size):
    picture = paint(multistyle, draw_photo(*size), np.eye(26)[3])
    assert picture.shape == (*size, 3)
    assert picture.min() >= 0
    assert picture.max() <= 255


def test_it_is_the_textbooks_network(multistyle):
    photo, code = draw_photo(32, 48), np.eye(26)[3]
    layers = maths.conditioned(multistyle.network.transformer, code)
    expected = 255 * maths.forward(layers, photo / 255)[layers[-1].name]
    assert relative_error(paint(multistyle, photo, code), expected) <= 1e-5


def test_the_code_of_a_painting_is_the_textbooks(any_style):
    painting = draw_painting(256, 256)
    layers = any_style.network.predictor
    expected = maths.forward(layers, painting / 255)[layers[-1].name].ravel()
    assert relative_error(read_code(any_style, painting), expected) <= 1e-5


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (2, 900)])
def test_a_painting_may_have_any_size(any_style, size):
    code = read_code(any_style, draw_painting(*size))
    assert code.shape == (100,)
    assert np.all(np.isfinite(code))


def test_a_photo_below_16_pixels_is_refused(multistyle):
    with pytest.raises(InputError, match="48x15 pixels is too small to be painted"):
        paint(multistyle, draw_photo(15, 48), np.eye(26)[3])


def test_a_network_with_learned_styles_reads_no_painting(multistyle):
    with pytest.raises(InputError, match="has learned its styles"):
        read_code(multistyle, draw_painting(32, 32))


def test_blending_is_a_mean_of_codes(rng):
    codes = [rng.standard_normal(5) for _ in range(2)]
    assert np.allclose(blended_code(codes), (codes[0] + codes[1]) / 2)
    assert np.allclose(blended_code(codes, (3, 1)), 0.75 * codes[0] + 0.25 * codes[1])


def test_strength_0_is_the_photos_own_style_and_1_the_paintings(any_style):
    photo, painting = draw_photo(48, 64), draw_painting(48, 64)
    full, half, none = (stylize(any_style, photo, [painting], strength=s) for s in (1, 0.5, 0))
    assert np.allclose(full, paint(any_style, photo, read_code(any_style, painting)), atol=1e-3)
    assert np.allclose(none, paint(any_style, photo, read_code(any_style, photo)), atol=1e-3)
    assert np.linalg.norm(half - full) < np.linalg.norm(none - full)


def test_of_two_paintings_with_all_the_weight_on_one_only_that_one_counts(any_style):
    photo, painting = draw_photo(48, 64), draw_painting(48, 64)
    both = stylize(any_style, photo, [photo, painting], blend=(0, 1))
    assert np.allclose(both, stylize(any_style, photo, [painting]), atol=1e-3)


def test_a_step_against_the_gradient_lowers_the_loss(any_style):
    photo, target = draw_photo(33, 46), draw_painting(33, 46)
    bound = bind_style_network(any_style.network, dtype=np.float64)
    code = read_code(bound, target)

    def loss(code):
        return 0.5 * np.sum((paint(bound, photo, code) - target) ** 2)

    _, gradient = paint_backward(bound, lambda y: y - target, photo, code)
    step = 1e-6 * gradient.code / np.linalg.norm(gradient.code)
    slope = (loss(code + step) - loss(code - step)) / 2e-6
    assert slope == pytest.approx(np.linalg.norm(gradient.code), rel=1e-6)
