"""The main job on the real VGG-19, with the figures that a good picture has."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.image import load_image
from npstyle.objective import term
from npstyle.presets import Settings
from npstyle.style_transfer import transfer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(shared):
    return shared / "images" / "tuebingen.jpg", shared / "images" / "starry_night.jpg"


def test_150_iterations_at_256_lower_the_style_term_to_a_four_hundredth(pictures, vgg19):
    seen = []
    settings = Settings(size=256, iterations=150)
    done = transfer(*pictures, vgg19, settings, callback=lambda p: seen.append(p.parts))
    parts = done.result.parts
    assert term(parts, "style") <= 2.5e4
    assert term(parts, "content") <= 6.5e4
    assert done.result.evaluations <= 175
    # It is no longer the photo, and it took the painting's colours: much more blue than red.
    photo = load_image(pictures[0], 256)
    image = done.result.image
    assert np.abs(image - photo).mean() > 20
    assert image[..., 2].mean() > image[..., 0].mean() > 0


def test_from_noise_a_picture_comes_out(pictures, vgg19):
    settings = replace(Settings(size=128, iterations=100), init="noise")
    seen = []
    done = transfer(*pictures, vgg19, settings, callback=lambda p: seen.append(p.parts))
    parts = done.result.parts
    assert term(parts, "style") < 0.02 * term(seen[0], "style")
    # In white noise a pixel says nothing about its neighbour; in a picture they are alike.
    image = done.result.image.mean(axis=2)
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > 0.6
