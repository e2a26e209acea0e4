import numpy as np
import pytest

from npstyle.engine.cpu.losses import mean_gram
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.errors import InputError
from npstyle.networks.network import configure, load_network
from tests.numeric import make_objective

LAYERS = {"conv1_1": 1.0, "conv2_1": 0.5, "conv3_1": 1.0}


@pytest.fixture(scope="module")
def network():
    return configure(load_network("builtin"), "avg", np.float64)


@pytest.fixture
def pictures(rng):
    return [rng.uniform(0, 255, (20, 24, 3)) for _ in range(3)]


def evaluate(network, photo, style, picture):
    objective = make_objective(network, photo, style, content_layers={}, style_layers=LAYERS)
    return objective(picture)


def test_guides_add_up_to_1_and_follow_the_pooling(network):
    mask = np.zeros((8, 8))
    mask[:3] = 1
    weights = carry_down(network, ["conv1_1", "conv2_1"], mask)
    squares = np.repeat([[1.0], [0.25], [0.0], [0.0]], 4, axis=1)
    assert weights["conv1_1"] == pytest.approx(mask / mask.sum())
    assert weights["conv2_1"] == pytest.approx(squares / squares.sum())


def test_a_mask_of_ones_changes_nothing(network, pictures):
    photo, painting, picture = pictures
    plain = evaluate(network, photo, painting, picture)
    region = Region((Source(painting, 2.0, np.ones((20, 24))),), np.ones((20, 24)))
    guided = evaluate(network, photo, [region], picture)
    assert guided.loss == pytest.approx(plain.loss, rel=1e-12)
    assert guided.gradient == pytest.approx(plain.gradient, rel=1e-9, abs=1e-12)


def test_the_target_of_several_paintings_is_their_blended_gram(network, pictures):
    photo, first, second = pictures
    objective = make_objective(
        network,
        photo,
        [Region((Source(first, 3.0), Source(second, 7.0)))],
        content_layers={},
        style_layers=LAYERS,
    )
    one, other = (
        make_objective(network, photo, p, content_layers={}, style_layers=LAYERS)
        for p in (first, second)
    )
    for name, target in objective.style_targets[0].items():
        blended = 0.3 * one.style_targets[0][name] + 0.7 * other.style_targets[0][name]
        assert target == pytest.approx(blended)


def test_regions_are_added_and_each_changes_only_its_own_part(network, pictures):
    photo, first, second = pictures
    left = np.zeros((20, 24))
    left[:, :12] = 1
    regions = [Region((Source(first),), left), Region((Source(second),), 1 - left)]
    both = evaluate(network, photo, regions, photo)
    alone = [evaluate(network, photo, [region], photo) for region in regions]
    assert both.loss == pytest.approx(sum(one.loss for one in alone))
    assert both.gradient == pytest.approx(sum(one.gradient for one in alone))
    far_right = alone[0].gradient[:, 22:]  # beyond the receptive field of the left half
    assert np.all(far_right == 0)
    assert np.any(alone[0].gradient[:, :12] != 0)


def test_a_part_of_the_painting_gives_the_style_of_that_part(network):
    mask = np.zeros((20, 24))
    mask[:8, :8] = 1
    weights = carry_down(network, ["conv1_1"], mask)["conv1_1"]
    activation = np.abs(np.random.default_rng(1).standard_normal((20, 24, 4)))
    assert mean_gram(activation, weights) == pytest.approx(mean_gram(activation[:8, :8]))


def test_a_region_that_vanishes_at_a_layer_is_refused(network):
    mask = np.zeros((33, 33))
    mask[32, 32] = 1  # pooling drops the odd last row
    with pytest.raises(InputError, match="a mask is 0 everywhere at layer conv2_1"):
        carry_down(network, ["conv1_1", "conv2_1"], mask)
