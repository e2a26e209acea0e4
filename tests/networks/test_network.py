import pytest

from npstyle.errors import InputError
from npstyle.maths.network import forward
from npstyle.networks.network import load_network, shapes

NAMES = {"conv1_1": "relu1_1", "pool1": "pool1", "conv2_1": "relu2_1"}
"""Layers whose outputs the activations are."""


def test_an_activation_has_the_name_of_its_convolution_or_of_its_relu(small_network):
    assert small_network.canonical("relu1_2") == small_network.canonical("conv1_2") == "conv1_2"
    with pytest.raises(InputError, match=r"conv9_9.*conv1_1, conv1_2, pool1, conv2_1"):
        small_network.canonical("conv9_9")


def test_shapes_are_those_of_the_activations(rng, small_network):
    outputs = forward(small_network.layers, rng.standard_normal((9, 7, 3)))
    table = {layer.name: shape for layer, shape in shapes(small_network, NAMES, 9, 7)}
    for name in NAMES.values():
        assert table[name] == outputs[name].shape


def test_a_network_prints_as_the_list_of_its_layers():
    lines = repr(load_network("builtin")).splitlines()
    assert lines[0].startswith("Network builtin: (BGR pixel - (103.939, ")
    assert lines[1].split(maxsplit=1) == ["conv1_1", "convolution 3x3, 3 to 16 channels"]
    assert lines[5].split(maxsplit=1) == ["pool1", "avg pooling 2x2, stride 2"]
    assert len(lines) == 1 + 37
