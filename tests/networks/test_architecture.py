"""Every network of VGG's table 1 is read from a file, run and differentiated like VGG-19."""

import numpy as np
import pytest

from npstyle.engine import bind as engine_bind
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.whole import objective_subjects
from npstyle.networks.architecture import VGG_BLOCKS, ConvSpec, vgg_table
from npstyle.networks.network import load_network
from npstyle.networks.weights import Weights, load_weights, save_weights
from tests.numeric import relative_error

WIDTHS = {"1": 4, "2": 6, "3": 8, "4": 8, "5": 8}
CONVOLUTIONS = {"A": 8, "B": 10, "C": 13, "D": 13, "E": 16}  # plus 3 dense layers: 11 to 19 in all


@pytest.fixture(params=VGG_BLOCKS)
def file(request, tmp_path):
    """The letter of a network and a file with random weights and a few channels."""
    rng = np.random.default_rng(7)
    tensors, channels = {}, 3
    for layer in vgg_table(request.param):
        if isinstance(layer, ConvSpec):
            out, side = WIDTHS[layer.name[4]], 1 + 2 * layer.padding
            kernel = rng.standard_normal((out, channels, side, side)) / np.sqrt(side**2 * channels)
            tensors[f"{layer.name}.weight"] = kernel.astype(np.float32)
            tensors[f"{layer.name}.bias"] = rng.normal(0, 1, out).astype(np.float32)
            channels = out
    letter = request.param
    weights = Weights(
        name=f"vgg-{letter}",
        layers=vgg_table(letter),
        tensors=tensors,
        channel_order="RGB",
        mean=(120.0, 120.0, 120.0),
        scale=(0.02, 0.02, 0.02),
        source="random",
        license="none",
        source_sha256="",
    )
    save_weights(tmp_path / "net.npz", weights)
    return letter, tmp_path / "net.npz"


def test_the_architecture_is_read_from_the_file(file):
    letter, path = file
    weights = load_weights(path)
    assert weights.layers == vgg_table(letter)
    convolutions = [layer for layer in weights.layers if isinstance(layer, ConvSpec)]
    assert len(convolutions) == CONVOLUTIONS[letter]
    one_by_one = [name for name in weights.tensors if weights.tensors[name].shape[2:] == (1, 1)]
    expected = ["conv3_3.weight", "conv4_3.weight", "conv5_3.weight"] if letter == "C" else []
    assert sorted(one_by_one) == expected


def test_the_gradient_of_the_objective_agrees_numerically(file):
    _, path = file
    network = load_network(path)
    subject = next(objective_subjects(network, 32, np.random.default_rng(0)))
    report = check_subject(subject, samples=20, directions=3)
    assert report.passed, report


def test_the_fast_and_the_plain_route_agree(file, rng, monkeypatch):
    monkeypatch.setattr(engine_bind, "WIDE", 1)
    _, path = file
    network = load_network(path)
    photo, painting, picture = (rng.uniform(0, 255, (36, 40, 3)) for _ in range(3))
    layers = {"content_layers": {"conv4_2": 1.0}, "style_layers": {"conv1_1": 1.0, "conv5_1": 1.0}}
    if network.name == "vgg-A":
        layers["content_layers"] = {"conv4_1": 1.0}
    names = [name for group in layers.values() for name in group]
    bound = [engine_bind.bind(network, names, route=route) for route in ("plain", "fast")]
    assert [engine_bind.count_convolutions(one)[1] > 0 for one in bound] == [False, True]
    plain, fast = (StyleObjective(one, photo, painting, Losses(**layers))(picture) for one in bound)
    assert plain.loss == pytest.approx(fast.loss, rel=2e-5)
    assert relative_error(plain.gradient, fast.gradient) <= 2e-5
