"""The objective on a GPU, or on the stand-in for CuPy, agrees with that of the CPU."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine import cpu, cuda
from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.maths.layers import Pool
from npstyle.networks.network import configure
from npstyle.run.settings import PRESETS, Settings
from tests.engine.cuda.gpus import back, needed, to
from tests.numeric import relative_error

pytestmark = needed

POOLINGS = [("gatys", "avg"), ("paper", "max"), ("neural-style", "l2")]
"""A preset and a pooling mode."""


def objectives(network, settings, photo, painting, route="plain"):
    """The objective on the CPU and on the GPU."""
    wanted = [*settings.content_layers, *settings.style_layers]
    for engine in (cpu, cuda):
        bound = bind(network, wanted, engine=engine, route=route)
        yield StyleObjective(bound, photo, painting, settings.losses())


@pytest.mark.parametrize("route", ["plain", "fast"])
@pytest.mark.parametrize(("preset", "pooling"), POOLINGS)
@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_the_objective_on_the_gpu_is_that_of_the_cpu(
    rng, small_network, monkeypatch, route, preset, pooling, padding
):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", 1)
    network = configure(small_network, pooling, np.float32, padding)
    settings = replace(
        PRESETS[preset], content_layers={"conv2_1": 1.0}, style_layers={"conv1_1": 1.0}
    )
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    on_cpu, on_gpu = objectives(network, settings, photo, painting, route)
    expected, found = on_cpu(pixels), on_gpu(pixels)
    assert type(found.gradient) is np.ndarray
    assert found.parts == pytest.approx(expected.parts, rel=1e-5)
    assert relative_error(found.gradient, expected.gradient) <= 1e-5
    from_gpu = on_gpu(to(pixels))
    assert np.array_equal(back(from_gpu.gradient), found.gradient)


def test_a_loss_at_a_pooling_without_a_relu_sees_negative_values(rng, small_network):
    network = replace(small_network, layers=(Pool("pool0", 2, 2, "avg"), *small_network.layers))
    settings = Settings(content_layers={"pool0": 1.0}, style_layers={"pool0": 1.0})
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    on_cpu, on_gpu = objectives(network, settings, photo, painting)
    assert relative_error(on_gpu(pixels).gradient, on_cpu(pixels).gradient) <= 1e-10


def test_photo_and_painting_may_lie_on_the_gpu(rng, small_network):
    settings = Settings(content_layers={"conv2_1": 1.0}, style_layers={"conv1_1": 1.0})
    photo, painting, pixels = (rng.uniform(0, 255, (12, 15, 3)) for _ in range(3))
    bound = bind(small_network, engine=cuda)
    expected, found = (
        StyleObjective(bound, *pictures, settings.losses())(pixels)
        for pictures in ((photo, painting), (to(photo), to(painting)))
    )
    assert relative_error(found.gradient, expected.gradient) <= 1e-10
