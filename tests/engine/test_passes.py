import gc
import weakref

import numpy as np
import pytest

from npstyle.engine.cpu.conv import conv2d
from npstyle.engine.cpu.pooling import avg_pool2d
from npstyle.engine.cpu.relu import relu
from npstyle.engine.passes import backward, forward
from npstyle.errors import InputError
from npstyle.networks.network import configure
from tests.numeric import adding, as_they_are, central_difference

NAMES = ("conv1_1", "pool1", "conv2_1")


def test_forward_is_the_layers_one_after_another_and_returns_only_what_is_wanted(
    rng, small_network
):
    image = rng.standard_normal((6, 7, 3))
    conv1_1, _, conv1_2, _, _, conv2_1, _ = small_network.layers
    first = relu(conv2d(image, conv1_1.kernel, conv1_1.bias, 1, 1))
    pooled = avg_pool2d(relu(conv2d(first, conv1_2.kernel, conv1_2.bias, 1, 1)))
    last = relu(conv2d(pooled, conv2_1.kernel, conv2_1.bias, 1, 1))
    activations, _ = forward(small_network, image, as_they_are(NAMES))
    assert list(activations) == list(NAMES)
    for name, expected in zip(NAMES, (first, pooled, last), strict=True):
        assert np.allclose(activations[name], expected, atol=1e-14)


def test_forward_stops_at_the_deepest_layer_wanted(rng, small_network):
    _, cache = forward(small_network, rng.standard_normal((6, 6, 3)), as_they_are(["conv1_2"]))
    assert len(cache.entries) == 4


@pytest.mark.parametrize("edges", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
@pytest.mark.parametrize("names", [NAMES, ("conv1_2",), ("relu2_1", "conv1_1")])
def test_backward_from_several_layers_equals_central_differences(
    rng, small_network, pooling, names, edges
):
    network = configure(small_network, pooling, np.float64, edges)
    image = rng.standard_normal((7, 6, 3))
    activations, cache = forward(network, image, as_they_are(names))
    upstream = {name: rng.standard_normal(activations[name].shape) for name in names}

    def loss(x):
        found, _ = forward(network, x, as_they_are(names))
        return sum(np.sum(upstream[name] * found[name]) for name in names)

    numeric = central_difference(loss, image)
    assert np.allclose(backward(network, cache, adding(upstream)), numeric, atol=1e-7)
    assert not cache.entries


def test_backward_lets_an_activation_go_once_its_convolution_is_done(
    rng, small_network, monkeypatch
):
    activations, cache = forward(small_network, rng.standard_normal((6, 6, 3)), as_they_are(NAMES))
    deepest = weakref.ref(activations["conv2_1"])
    losses = adding({name: np.ones_like(values) for name, values in activations.items()})
    del activations
    gone_when_at = []

    def watched(gradient, *rest):
        gc.collect()
        gone_when_at.append(deepest() is None)
        return original(gradient, *rest)

    original = backward.__globals__["conv2d_backward"]
    monkeypatch.setitem(backward.__globals__, "conv2d_backward", watched)
    backward(small_network, cache, losses)
    assert gone_when_at == [False, True, True]


def test_a_picture_too_small_for_a_layer_is_named(small_network):
    with pytest.raises(InputError, match=r"5x1 pixels is too small for layer pool1"):
        forward(small_network, np.zeros((1, 5, 3)), as_they_are(["conv2_1"]))


def test_a_tape_serves_once(rng, small_network):
    activations, cache = forward(
        small_network, rng.standard_normal((6, 6, 3)), as_they_are(["conv1_1"])
    )
    backward(small_network, cache, adding(activations))
    with pytest.raises(ValueError, match="once"):
        backward(small_network, cache, adding(activations))
