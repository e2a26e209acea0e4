"""Whole runs on a card (or its stand-in), against the same runs on the host."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.networks.network import FastConv
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from tests.engine.cuda.cards import needed

pytestmark = needed

SETTINGS = Settings(
    size=12,
    iterations=4,
    content_layers={"conv2_1": 1.0},
    style_layers={"conv1_1": 1.0, "conv2_1": 1.0},
)


@pytest.fixture
def pictures(rng):
    return rng.uniform(0, 255, (9, 12, 3)), rng.uniform(0, 255, (10, 8, 3))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float64"},
        {"optimizer": "adam", "tv_weight": 1.0, "color": "luminance", "dtype": "float64"},
        {
            "dtype": "float64",
            "scales": (8, 12),
            "init": "noise",
            "pooling": "max",
            "padding": "replicate",
        },
    ],
)
def test_a_run_on_the_card_goes_as_on_the_host(pictures, small_network, change):
    settings = replace(SETTINGS, **change)
    seen = {}
    done = {}
    for device in ("cuda", "cpu"):
        told = seen[device] = []
        done[device] = transfer(
            *pictures,
            small_network,
            settings,
            device=device,
            callback=lambda p, told=told: told.append((p.iteration, on_gpu(p.current), p.image)),
        )
    card, host = done["cuda"].result, done["cpu"].result
    assert card.loss == pytest.approx(host.loss, rel=1e-3)
    assert card.image == pytest.approx(host.image, abs=0.1)
    assert (card.iterations, card.stopped) == (host.iterations, host.stopped)
    for (step, placed, image), (expected_step, _, expected) in zip(*seen.values(), strict=True):
        assert (step, placed) == (expected_step, True)
        assert image == pytest.approx(expected, abs=0.1)
    assert done["cuda"].record["device"].startswith("cuda:0 ")
    assert done["cpu"].record["device"] == "cpu"


def test_wide_convolutions_go_by_winograd_on_the_card_too(pictures, small_network, monkeypatch):
    monkeypatch.setattr("npstyle.networks.network.WIDE", 20)
    settings = replace(SETTINGS, iterations=1, optimizer="adam")
    plans, losses = [], []
    for device in ("cuda", "cpu"):
        done = transfer(*pictures, small_network, settings, device=device, announce=plans.append)
        losses.append(done.result.loss)
    for plan in plans:
        assert sum(isinstance(layer, FastConv) for layer in plan.network.layers) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_run_goes_on_where_it_was_interrupted(pictures, small_network):
    def interrupt(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    states = []
    options = {"device": "cuda", "keep": states.append}
    stopped = transfer(*pictures, small_network, SETTINGS, callback=interrupt, **options)
    assert stopped.result.stopped == "interrupted"
    assert type(states[-1].image) is np.ndarray
    losses = []
    done = transfer(
        *pictures,
        small_network,
        SETTINGS,
        state=states[-1],
        callback=lambda p: losses.append(p.loss),
        **options,
    )
    assert done.result.iterations == SETTINGS.iterations
    assert losses[-1] < stopped.result.loss
