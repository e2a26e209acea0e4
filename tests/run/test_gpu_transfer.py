"""Whole runs on a GPU, or its stand-in, agree with the same runs on the CPU."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.layers import FastConv
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer, transfer_pictures
from tests.engine.cuda.gpus import needed

pytestmark = needed


def on_gpu(array):
    return hasattr(array, "__cuda_array_interface__")


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
def test_a_run_on_the_gpu_agrees_with_one_on_the_cpu(pictures, small_network, change):
    settings = replace(SETTINGS, **change)
    seen = {}
    done = {}
    for device in ("cuda", "cpu"):
        reports = seen[device] = []
        done[device] = transfer(
            *pictures,
            small_network,
            settings,
            Machine(device=device),
            callback=lambda p, to=reports: to.append((p.iteration, on_gpu(p.current), p.image)),
        )
    gpu, cpu = done["cuda"].result, done["cpu"].result
    assert gpu.loss == pytest.approx(cpu.loss, rel=1e-3)
    assert gpu.image == pytest.approx(cpu.image, abs=0.1)
    assert (gpu.iterations, gpu.stopped) == (cpu.iterations, cpu.stopped)
    for (step, placed, image), (expected_step, _, expected) in zip(*seen.values(), strict=True):
        assert (step, placed) == (expected_step, True)
        assert image == pytest.approx(expected, abs=0.1)
    assert done["cuda"].record["device"].startswith("cuda:0 ")
    assert done["cpu"].record["device"] == "cpu"


def test_wide_convolutions_use_winograd_on_the_gpu_too(pictures, small_network, monkeypatch):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", 20)
    settings = replace(SETTINGS, iterations=1, optimizer="adam")
    plans, losses = [], []
    for device in ("cuda", "cpu"):
        photo, painting = pictures
        done = transfer_pictures(
            Pictures(photo, (painting,)),
            small_network,
            settings,
            Machine(device=device),
            announce=plans.append,
        )
        losses.append(done.result.loss)
    for plan in plans:
        assert sum(isinstance(layer, FastConv) for layer in plan.bound.layers) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_an_interrupted_run_resumes_where_it_stopped(pictures, small_network):
    def interrupt(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    states = []
    options = {"machine": Machine(device="cuda"), "keep": states.append}
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
