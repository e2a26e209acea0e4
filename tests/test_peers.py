"""The whole objective against PyTorch's autograd."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; pip install -e '.[peers]' to compare with it"
)

from npstyle.engine.bind import bind
from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import PRESETS
from tests.numeric import make_objective, relative_error
from tests.peer import TorchObjective

pytestmark = pytest.mark.peers


def compare(network, settings, photo, painting, picture, dtype, fast=False):
    """Relative errors of loss and gradient against PyTorch in float64."""
    configured = configure(network, settings.pooling, dtype, settings.padding)
    wanted = [*settings.content_layers, *settings.style_layers]
    if fast:
        configured = bind(configured, wanted, route="fast")
    ours = make_objective(configured, photo, painting, settings)
    theirs = TorchObjective(
        configure(network, settings.pooling, np.float64, settings.padding),
        photo,
        painting,
        settings,
    )
    with use_threads(physical_cores()):
        evaluation = ours(picture)
    loss, gradient = theirs(picture)
    return abs(evaluation.loss - loss) / loss, relative_error(evaluation.gradient, gradient)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("dtype", "bound", "gradient_bound"),
    # In a small picture, a single mask entry that rounding flips changes the gradient by 0.5 %.
    [(np.float64, 1e-10, 1e-10), (np.float32, 1e-5, 2e-2)],
)
def test_loss_and_gradient_on_the_builtin_network(
    rng, preset, pooling, dtype, bound, gradient_bound
):
    settings = replace(PRESETS[preset], pooling=pooling)
    photo, painting = draw_photo(51, 66), draw_painting(45, 60)
    picture = rng.uniform(0, 255, photo.shape)
    loss, gradient = compare(load_network("builtin"), settings, photo, painting, picture, dtype)
    assert loss <= bound
    assert gradient <= gradient_bound


def test_loss_and_gradient_with_replicated_edges(rng):
    settings = replace(PRESETS["gatys"], padding="replicate")
    photo, painting = draw_photo(51, 66), draw_painting(45, 60)
    picture = rng.uniform(0, 255, photo.shape)
    network = load_network("builtin")
    assert max(compare(network, settings, photo, painting, picture, np.float64)) <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_loss_and_gradient_on_the_real_vgg19(rng, shared, vgg19, preset, pooling, dtype, bound):
    settings = replace(PRESETS[preset], pooling=pooling)
    photo = load_image(shared / "images" / "tuebingen.jpg", 129)
    painting = load_image(shared / "images" / "starry_night.jpg", 100)
    picture = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255)
    errors = compare(load_network(vgg19), settings, photo, painting, picture, dtype)
    assert max(errors) <= bound


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_fast_route_on_the_real_vgg19(rng, shared, vgg19, preset):
    photo = load_image(shared / "images" / "tuebingen.jpg", 129)
    painting = load_image(shared / "images" / "starry_night.jpg", 100)
    picture = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255)
    network = load_network(vgg19)
    errors = compare(network, PRESETS[preset], photo, painting, picture, np.float32, fast=True)
    assert max(errors) <= 1e-4
