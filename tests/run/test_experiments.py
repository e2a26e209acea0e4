import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.networks.network import configure, load_network
from npstyle.run.experiments import parse_size, reconstruction, texture
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer


def run(pictures, settings):
    return transfer(pictures.photo, pictures.paintings, "builtin", settings).result


def test_a_shallow_layer_reconstructs_the_photo_better_than_a_deep_one():
    photo = draw_photo(48, 64)
    errors = {}
    for layer in ("conv1_2", "conv4_2"):
        result = run(*reconstruction(photo, layer, Settings(size=64, iterations=60)))
        errors[layer] = np.sqrt(np.mean((result.image - photo) ** 2))
    noise = np.sqrt(np.mean((127.5 - photo) ** 2))
    assert errors["conv1_2"] < 0.25 * noise
    assert errors["conv1_2"] < errors["conv4_2"]


def test_a_texture_has_the_paintings_statistics_and_the_requested_size():
    painting = draw_painting(48, 64)
    layers = {"conv1_1": 1.0, "conv2_1": 1.0}
    start, result = (
        run(*texture(painting, layers, (40, 64), Settings(iterations=n))) for n in (1, 60)
    )
    assert result.image.shape == (40, 64, 3)
    assert result.loss < 0.02 * start.loss
    bound = bind(configure(load_network("builtin"), "avg"))
    losses = Losses(content_layers={}, style_layers=layers)
    objective = StyleObjective(bound, result.image, painting, losses)
    own = StyleObjective(bound, result.image, result.image, losses).style_targets[0]
    for name, target in objective.style_targets[0].items():
        found = own[name]
        assert np.linalg.norm(found - target) < 0.2 * np.linalg.norm(target)


def test_both_experiments_start_from_noise_by_default():
    assert reconstruction(draw_photo(8, 8), "conv1_1", Settings())[1].init == "noise"
    layers = {"conv1_1": 1.0}
    stats = Settings(init="style-stats")
    assert texture(draw_photo(8, 8), layers, (8, 8), stats)[1].init == "style-stats"


@pytest.mark.parametrize("init", ["style", "style-stats"])
def test_a_reconstruction_starts_from_no_painting(init):
    with pytest.raises(InputError, match=f"--init {init}: needs a painting"):
        reconstruction(draw_photo(8, 8), "conv1_1", Settings(init=init))


def test_neither_experiment_starts_from_one_pass_which_needs_both_pictures():
    settings = Settings(init="one-pass")
    with pytest.raises(InputError, match="--init one-pass: needs a photo and a painting"):
        reconstruction(draw_photo(8, 8), "conv1_1", settings)
    with pytest.raises(InputError, match="--init one-pass: needs a photo and a painting"):
        texture(draw_photo(8, 8), {"conv1_1": 1.0}, (8, 8), settings)


@pytest.mark.parametrize(("text", "size"), [("256", (256, 256)), ("320x200", (200, 320))])
def test_a_size_is_one_side_or_width_and_height(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "3x4x5", "-3x4", "big"])
def test_a_bad_size_is_refused(text):
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        parse_size(text)


def test_a_texture_that_memory_does_not_hold_is_refused():
    with pytest.raises(InputError, match="--size 900000x800000: the texture alone takes"):
        texture(draw_painting(16, 16), {"conv1_1": 1.0}, (800_000, 900_000), Settings())
