"""The gradient at the weights, and ten steps of a training, against PyTorch in float64."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; pip install -e '.[peers]' to compare with it"
)

from npstyle import maths
from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.lab.whole_training import joined, untrained, weights_by_name
from npstyle.networks.network import configure, load_network
from npstyle.onepass.train import adam_step, batch_gradient, new_training, rate_at
from npstyle.run.settings import PRESETS
from tests.numeric import relative_error
from tests.peer import TorchObjective
from tests.style_peer import TorchTraining

pytestmark = pytest.mark.peers

CROP, WIDTH = 32, 4

SETTINGS = PRESETS["gatys"]


def without_effect(layer, name):
    """Whether the next normalisation subtracts a weight: its derivative is 0, up to rounding."""
    return name == "bias" or (name == "shift" and layer.endswith("_norm2"))


def both(rng, photo, painting):
    """A network that has not been trained, and the objective, in npstyle and in PyTorch."""
    network = untrained(WIDTH, rng)
    judge = configure(load_network("builtin"), SETTINGS.pooling, np.float64)
    losses = SETTINGS.losses()
    bound = bind(judge, losses.layers, route="fast")
    theirs = TorchTraining(network, TorchObjective(judge, photo, painting, SETTINGS))
    return network, StyleObjective(bound, photo, painting, losses), theirs


def test_the_gradient_at_every_weight(rng):
    *photos, painting = rng.uniform(0, 255, (3, CROP, CROP, 3))
    network, objective, theirs = both(rng, photos[0], painting)
    found, parts = batch_gradient(network, objective, photos)
    loss = theirs.backward(photos)
    right = theirs.arrays(lambda leaf: leaf.grad)
    assert sum(parts.values()) == pytest.approx(loss, rel=1e-12)
    assert set(found) == set(right)
    size = np.linalg.norm(joined(right, right))
    assert relative_error(joined(found, right), joined(right, right)) <= 1e-10
    for layer, arrays in right.items():
        assert set(found[layer]) == set(arrays)
        for name, array in arrays.items():
            own = size if without_effect(layer, name) else np.linalg.norm(array)
            assert np.linalg.norm(found[layer][name] - array) <= 1e-10 * own, (layer, name)


def test_ten_steps(rng):
    *photos, painting = rng.uniform(0, 255, (11, CROP, CROP, 3))
    network, objective, theirs = both(rng, photos[0], painting)
    training = new_training(network)
    for step, photo in enumerate(photos, 1):
        gradients, parts = batch_gradient(training.network, objective, [photo])
        training = adam_step(training, gradients, rate_at(step, None))
        loss = theirs.step([photo], rate_at(step, None))
        assert sum(parts.values()) == pytest.approx(loss, rel=1e-9)
    assert training.step == 10
    ours, right = weights_by_name(training), theirs.arrays()
    start = weights_by_name(new_training(network))
    for layer, arrays in right.items():
        for name, array in arrays.items():
            # Adam divides by the size of the gradient, so where that is rounding alone, so is the
            # step. It has no effect on the picture.
            if not without_effect(layer, name):
                assert relative_error(ours[layer][name], array) <= 1e-8, (layer, name)
                assert relative_error(start[layer][name], array) >= 1e-5, (layer, name)


def test_adams_direction_over_50_steps(rng):
    gradients = rng.standard_normal((50, 40)) * 10.0 ** rng.uniform(-9, 3, 40)
    theta, rate = rng.standard_normal(40), 1e-2
    leaf = torch.tensor(theta, requires_grad=True)
    adam = torch.optim.Adam([leaf], lr=rate)
    mean = square = np.zeros(40)
    for t, gradient in enumerate(gradients, 1):
        mean, square, direction = maths.adam_direction(gradient, mean, square, t)
        theta = theta - rate * direction
        leaf.grad = torch.tensor(gradient)
        adam.step()
        assert np.allclose(theta, leaf.detach().numpy(), rtol=1e-12, atol=1e-12)
