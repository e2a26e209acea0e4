import gc
import weakref

import numpy as np
import pytest

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.cpu.conv import conv2d
from npstyle.engine.cpu.pooling import avg_pool2d
from npstyle.engine.cpu.relu import relu
from npstyle.engine.passes import backward
from npstyle.errors import InputError
from npstyle.networks.network import configure
from tests.numeric import central_difference, run_backward, run_forward

NAMES = ("conv1_1", "pool1", "conv2_1")


def test_forward_runs_the_layers_in_order_and_yields_only_the_wanted_activations(
    rng, small_network
):
    image = rng.standard_normal((6, 7, 3))
    conv1_1, _, conv1_2, _, _, conv2_1, _ = small_network.layers
    first = relu(conv2d(image, conv1_1.kernel, conv1_1.bias, 1, 1))
    pooled = avg_pool2d(relu(conv2d(first, conv1_2.kernel, conv1_2.bias, 1, 1)))
    last = relu(conv2d(pooled, conv2_1.kernel, conv2_1.bias, 1, 1))
    activations, _ = run_forward(small_network, image, NAMES)
    assert list(activations) == list(NAMES)
    for name, expected in zip(NAMES, (first, pooled, last), strict=True):
        assert np.allclose(activations[name], expected, rtol=0, atol=1e-14)


def test_forward_stops_at_the_deepest_wanted_layer(rng, small_network):
    _, cache = run_forward(small_network, rng.standard_normal((6, 6, 3)), ["conv1_2"])
    assert len(cache.entries) == 4


@pytest.mark.parametrize("edges", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
@pytest.mark.parametrize("names", [NAMES, ("conv1_2",), ("relu2_1", "conv1_1")])
def test_backward_from_several_layers_equals_central_differences(
    rng, small_network, pooling, names, edges
):
    network = configure(small_network, pooling, np.float64, edges)
    image = rng.standard_normal((7, 6, 3))
    activations, cache = run_forward(network, image, names)
    upstream = {name: rng.standard_normal(activations[name].shape) for name in names}

    def loss(x):
        found, _ = run_forward(network, x, names)
        return sum(np.sum(upstream[name] * found[name]) for name in names)

    numeric = central_difference(loss, image)
    assert np.allclose(run_backward(network, cache, upstream), numeric, rtol=0, atol=1e-7)
    assert not cache.entries


def test_backward_frees_an_activation_once_its_convolution_is_done(rng, small_network, monkeypatch):
    bound = bind(small_network)
    activations, cache = run_forward(bound, rng.standard_normal((6, 6, 3)), NAMES)
    deepest = weakref.ref(activations["conv2_1"])
    losses = {name: np.ones_like(values) for name, values in activations.items()}
    del activations
    gone_when_at = []

    def watched(upstream, *rest):
        gc.collect()
        gone_when_at.append(deepest() is None)
        return original(upstream, *rest)

    original = cpu.conv2d_backward
    monkeypatch.setattr(cpu, "conv2d_backward", watched)
    for name, _, out in backward(bound, cache):
        out += losses[name]
        del _, out
    assert gone_when_at == [False, True, True]


def test_a_picture_too_small_for_a_layer_is_refused(small_network):
    with pytest.raises(InputError, match=r"5x1 pixels is too small for layer pool1"):
        run_forward(small_network, np.zeros((1, 5, 3)), ["conv2_1"])


def test_a_cache_can_be_used_for_one_backward_pass(rng, small_network):
    activations, cache = run_forward(small_network, rng.standard_normal((6, 6, 3)), ["conv1_1"])
    run_backward(small_network, cache, activations)
    with pytest.raises(ValueError, match="once"):
        run_backward(small_network, cache, activations)
