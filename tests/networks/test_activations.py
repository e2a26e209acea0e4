import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.maths.network import forward
from npstyle.maths.preprocessing import preprocess
from npstyle.networks.activations import activations


def test_activations_are_the_outputs_of_the_textbook_in_the_order_of_the_layers(rng, small_network):
    pixels = rng.uniform(0, 255, (9, 8, 3))
    n = small_network
    outputs = forward(n.layers, preprocess(pixels, n.channel_order, n.mean, n.scale))
    found = list(activations(small_network, pixels, ["conv2_1", "pool1", "conv1_1"]))
    assert [name for name, _ in found] == ["conv1_1", "pool1", "conv2_1"]
    for (_, F), layer in zip(found, ["relu1_1", "pool1", "relu2_1"], strict=True):
        assert np.array_equal(F, outputs[layer])


def test_unknown_layers_and_pictures_that_are_too_small_are_refused(small_network):
    with pytest.raises(InputError, match="conv9_9"):
        list(activations(small_network, np.zeros((9, 8, 3)), ["conv9_9"]))
    with pytest.raises(InputError, match="1x1 pixels is too small for layer pool1"):
        list(activations(small_network, np.zeros((1, 1, 3)), ["pool1"]))
