import numpy as np
import pytest

from npstyle.engine.passes import forward
from npstyle.errors import InputError
from npstyle.networks.network import FastConv, accelerate, configure, load_network, shapes
from tests.numeric import as_they_are

NAMES = ("conv1_1", "pool1", "conv2_1")


def test_an_activation_goes_by_its_convolution_or_its_relu(small_network):
    assert small_network.canonical("relu1_2") == small_network.canonical("conv1_2") == "conv1_2"
    with pytest.raises(InputError, match=r"conv9_9.*conv1_1, conv1_2, pool1, conv2_1"):
        small_network.canonical("conv9_9")


def test_shapes_equal_what_forward_makes(rng, small_network):
    activations, _ = forward(small_network, rng.standard_normal((9, 7, 3)), as_they_are(NAMES))
    table = {layer.name: shape for layer, shape in shapes(small_network, NAMES, 9, 7)}
    for name in NAMES:
        assert table[name] == activations[name].shape


@pytest.mark.parametrize("wide", [0, 16 * 16])
def test_accelerate_takes_the_wide_layers_as_deep_as_they_run(monkeypatch, wide):
    monkeypatch.setattr("npstyle.engine.bind.WIDE", wide)
    network = load_network("builtin")
    fast = accelerate(network, ["conv2_1", "conv1_1"])
    served = [layer.name for layer in fast.layers if isinstance(layer, FastConv)]
    assert served == ["conv1_1", "conv1_2", "conv2_1"][1 if wide else 0 :]
    assert [layer.name for layer in fast.layers] == [layer.name for layer in network.layers[:7]]
    assert shapes(fast, ["conv2_1"], 9, 7)[-1][1] == shapes(network, ["conv2_1"], 9, 7)[-1][1]


def test_an_accelerated_network_is_not_configured_any_more():
    fast = accelerate(load_network("builtin"), ["conv4_1"])
    with pytest.raises(InputError, match="accelerated already"):
        configure(fast, "max", np.float32)
