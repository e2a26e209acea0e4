"""The steps of a training equal the textbook's, and the rate grows and falls as described."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine.bind import bind
from npstyle.engine.feedforward.bind import FramedConv, bind_layers
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.lab.whole import textbook_objective
from npstyle.lab.whole_training import joined, untrained, weights_by_name
from npstyle.networks.network import configure, load_network
from npstyle.onepass import stylize
from npstyle.onepass.train import (
    RATE,
    WARM_UP,
    adam_step,
    batch_gradient,
    new_training,
    rate_at,
    weights_of,
    with_weights,
)
from npstyle.run.settings import PRESETS
from tests.numeric import relative_error

SMALL = Losses(content_layers={"conv2_1": 1.0}, style_layers={"conv1_2": 1.0}, tv_weight=1e-3)


def pictures(rng, size, count):
    return list(rng.uniform(0, 255, (count, *size, 3)))


def make_objective(network, photo, painting, losses, **way):
    return StyleObjective(bind(network, losses.layers, **way), photo, painting, losses)


@pytest.mark.parametrize("fast", [True, False])
def test_the_gradient_of_a_batch_is_the_textbooks(rng, monkeypatch, fast):
    bind_painter = partial(bind_layers, fast=fast)
    monkeypatch.setattr(stylize, "bind_layers", bind_painter)
    network, losses = untrained(4, rng), PRESETS["gatys"].losses()
    fastest = bind_painter(network.transformer, dtype=np.float64).layers
    assert any(isinstance(layer, FramedConv) for layer in fastest) == fast
    judge = configure(load_network("builtin"), "avg", np.float64)
    *photos, painting = pictures(rng, (32, 36), 3)
    route = "fast" if fast else "plain"
    objective = make_objective(judge, photos[0], painting, losses, route=route)
    found, parts = batch_gradient(network, objective, photos)

    images = [maths.preprocess(x, "RGB", network.mean, network.scale) for x in photos]
    judges = [textbook_objective(judge, photo, painting, losses) for photo in photos]
    way = images, judges, network.output_scale
    loss, right = maths.training_gradient(network.transformer, *way)
    assert sum(parts.values()) == pytest.approx(loss, rel=1e-12)
    whole = joined(right, right)
    assert relative_error(joined(found, right), whole) <= 1e-10
    for layer, arrays in right.items():
        for name, array in arrays.items():
            assert found[layer][name].dtype == np.float64
            if name == "bias" or (name == "shift" and layer.endswith("_norm2")):
                # The next normalisation subtracts it: the derivative is 0, up to rounding.
                bound, size = 1e-12, np.linalg.norm(whole)
                assert np.linalg.norm(array) <= bound * size
            else:
                bound, size = 1e-10, np.linalg.norm(array)
            assert np.linalg.norm(found[layer][name] - array) <= bound * size, (layer, name)


def test_gradients_and_terms_are_means_over_the_batch(rng, small_network):
    network = untrained(1, rng)
    *photos, painting = pictures(rng, (16, 16), 3)
    objective = make_objective(small_network, photos[0], painting, SMALL)
    both, parts = batch_gradient(network, objective, photos)
    alone = [batch_gradient(network, objective, [photo]) for photo in photos]
    vectors = [joined(gradients, both) for gradients, _ in alone]
    assert np.allclose(joined(both, both), (vectors[0] + vectors[1]) / 2, rtol=1e-12)
    assert list(parts) == ["content conv2_1", "style conv1_2", "tv"]
    for name, value in parts.items():
        assert value == pytest.approx((alone[0][1][name] + alone[1][1][name]) / 2)


def test_a_step_against_the_gradient_lowers_the_loss_as_much_as_it_should(rng, small_network):
    network = untrained(1, rng)
    *photos, painting = pictures(rng, (16, 20), 3)
    objective = make_objective(small_network, photos[0], painting, SMALL)
    gradients, _ = batch_gradient(network, objective, photos)
    theta = weights_by_name(new_training(network))
    size = np.linalg.norm(joined(gradients, theta))

    def loss(h):
        moved = {
            layer: {name: array - h * gradients[layer][name] / size for name, array in own.items()}
            for layer, own in theta.items()
        }
        return sum(batch_gradient(with_weights(network, moved), objective, photos)[1].values())

    assert (loss(-1e-6) - loss(1e-6)) / 2e-6 == pytest.approx(size, rel=1e-5)


def test_compiled_loops_give_the_same_gradient(rng, cpu_engine):
    network, losses = untrained(8, rng), PRESETS["gatys"].losses()
    *photos, painting = pictures(rng, (48, 40), 2)
    exact = make_objective(
        configure(load_network("builtin"), "avg", np.float64), photos[0], painting, losses
    )
    single = make_objective(
        load_network("builtin"), photos[0], painting, losses, engine=cpu_engine, route="fast"
    )
    right, expected = batch_gradient(network, exact, photos)
    found, parts = batch_gradient(network, single, photos)
    assert relative_error(joined(found, right), joined(right, right)) <= 1e-2  # a ReLU may flip
    for name, value in expected.items():
        assert parts[name] == pytest.approx(value, rel=1e-4)


def test_the_first_step_moves_every_weight_by_the_rate(rng):
    training = new_training(untrained(1, rng))
    theta = weights_by_name(training)
    gradients = {
        layer: {name: rng.standard_normal(array.shape) for name, array in own.items()}
        for layer, own in theta.items()
    }
    after = adam_step(training, gradients, 0.01)
    moved = joined(weights_by_name(after), theta) - joined(theta, theta)
    assert np.allclose(moved, -0.01 * np.sign(joined(gradients, theta)), rtol=1e-3)
    assert after.step == 1


def test_a_step_changes_nothing_in_place_and_keeps_float32(rng):
    exact = untrained(1, rng)
    single = {
        layer.name: {name: array.astype(np.float32) for name, array in weights_of(layer).items()}
        for layer in exact.transformer
    }
    training = new_training(with_weights(exact, single))
    theta = weights_by_name(training)
    before = joined(theta, theta).copy()
    gradients = {
        layer: {name: np.ones(array.shape) for name, array in own.items()}
        for layer, own in theta.items()
    }
    after = adam_step(adam_step(training, gradients, 0.01), gradients, 0.01)
    assert np.array_equal(joined(weights_by_name(training), theta), before)
    assert not joined(training.mean, theta).any()
    assert training.step == 0
    for arrays in (weights_by_name(after), after.mean, after.square):
        assert joined(arrays, theta).dtype == np.float32
        assert arrays.keys() == theta.keys()


def test_other_layers_than_those_with_weights_stay_as_they_are(rng):
    network = untrained(1, rng)
    ones = np.ones_like(network.transformer[1].scale)
    changed = with_weights(network, {"norm1": {"scale": ones}})
    for old, new in zip(network.transformer, changed.transformer, strict=True):
        if old.name == "norm1":
            assert np.array_equal(new.scale, ones)
            assert new.shift is old.shift
        else:
            assert vars(new) == vars(old) or new is old or not weights_of(old)
    assert replace(changed, transformer=network.transformer) == network


def test_the_rate_grows_in_the_warm_up_and_then_falls_to_0():
    rates = [rate_at(step, 1000) for step in range(1, 1001)]
    assert rates[0] == pytest.approx(RATE / WARM_UP)
    assert rates[WARM_UP - 1] == RATE == max(rates)
    assert np.all(np.diff(rates[:WARM_UP]) > 0)
    assert np.all(np.diff(rates[WARM_UP - 1 :]) < 0)
    assert 0 < rates[-1] < 1e-5 * RATE
    half = WARM_UP + (1001 - WARM_UP) // 2
    assert rate_at(half, 1000) == pytest.approx(RATE / 2, rel=1e-2)


def test_while_the_number_of_steps_is_unknown_the_rate_is_that_of_the_warm_up():
    for step in (1, WARM_UP // 2, WARM_UP):
        assert rate_at(step, None) == rate_at(step, 5000)
