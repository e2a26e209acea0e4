"""Whole runs with the real VGG-19: the losses of good pictures, and float32 against float64."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.losses import term
from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.images.read import load_image
from npstyle.networks.network import load_network
from npstyle.run.settings import PRESETS, Settings
from npstyle.run.transfer import transfer
from tests.masks import beside_float64, evaluate_tiles_with_masks, relu_masks
from tests.numeric import make_objective, make_tiled, relative_error

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(shared):
    return shared / "images" / "tuebingen.jpg", shared / "images" / "starry_night.jpg"


def test_100_iterations_at_192_lower_both_terms_to_known_values(pictures, vgg19):
    done = transfer(*pictures, vgg19, Settings(size=192, iterations=100))
    parts = done.result.parts
    assert term(parts, "style") <= 4e4  # 3.5e4 and 5.9e4 were measured
    assert term(parts, "content") <= 6.5e4
    assert done.result.evaluations <= 110
    # The result differs from the photo and has the painting's colours: more blue than red.
    photo = load_image(pictures[0], 192)
    image = done.result.image
    assert np.abs(image - photo).mean() > 20
    assert image[..., 2].mean() > image[..., 0].mean() > 0


def test_a_picture_emerges_from_noise(pictures, vgg19):
    settings = replace(Settings(size=128, iterations=100), init="noise")
    seen = []
    done = transfer(*pictures, vgg19, settings, callback=lambda p: seen.append(p.parts))
    parts = done.result.parts
    assert term(parts, "style") < 0.02 * term(seen[0], "style")
    # In white noise a pixel says nothing about its neighbour; in a picture they are alike.
    image = done.result.image.mean(axis=2)
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > 0.6


@pytest.mark.parametrize(("size", "noise"), [(256, 0), (256, 20), (512, 20)])
def test_the_fast_route_is_exact_with_the_masks_of_float64(shared, vgg19, size, noise, rng):
    photo = load_image(shared / "images" / "tuebingen.jpg", size)
    painting = load_image(shared / "images" / "starry_night.jpg", size)
    pixels = np.clip(photo + rng.normal(0, noise, photo.shape), 0, 255)
    found = beside_float64(load_network(vgg19), photo, painting, pixels, PRESETS["gatys"])
    assert found.loss <= 2e-6
    assert found.gradient_with_masks <= 2e-6
    assert found.other_masks <= 1e-6 * found.units
    assert found.gradient <= 3e-3


@pytest.mark.parametrize("noise", [5, 60])
def test_tiles_in_float32_agree_with_the_whole_picture_with_the_same_masks(
    pictures, vgg19, noise, rng
):
    settings = PRESETS["gatys"]
    names = [*settings.content_layers, *settings.style_layers]
    network = bind(load_network(vgg19), names, route="fast")
    photo, painting = (load_image(picture, 256) for picture in pictures)
    pixels = np.clip(photo + rng.normal(0, noise, photo.shape), 0, 255)
    with use_threads(physical_cores()):
        whole = make_objective(network, photo, painting, settings)
        tiled = make_tiled(network, photo, painting, settings, tile=96)
        assert len(tiled.tiles) == 6
        expected, found = whole(pixels), tiled(pixels)
        with_masks = evaluate_tiles_with_masks(tiled, pixels, relu_masks(whole, pixels))
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.parts == pytest.approx(expected.parts, rel=1e-5)
    assert relative_error(with_masks.gradient, expected.gradient) <= 1e-5
    assert relative_error(found.gradient, expected.gradient) <= 1e-3
