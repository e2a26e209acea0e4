from dataclasses import replace

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.networks.activations import activations
from npstyle.networks.network import network_from_weights
from npstyle.networks.normalize import TOLERANCE, check_normalized, filter_means, normalize
from npstyle.networks.weights import find_weights, load_weights

IMAGES = [draw_photo(48, 64), draw_painting(40, 40), draw_photo(33, 57, 3)]


@pytest.fixture(scope="module")
def weights():
    """The built-in network, which is normalised, with its filters scaled at random."""
    rng = np.random.default_rng(0)
    found = load_weights(find_weights("builtin"))
    tensors = {}
    for name, tensor in found.tensors.items():
        if name.endswith("bias"):
            factor = np.exp(rng.normal(0, 1, len(tensor)))
            kernel = found.tensors[name.replace("bias", "weight")].astype(np.float32)
            tensors[name] = (tensor * factor).astype(np.float32)
            tensors[name.replace("bias", "weight")] = kernel * factor[:, None, None, None].astype(
                np.float32
            )
    return replace(found, tensors=tensors, normalized=False)


def activation(weights, image, name):
    return dict(activations(network_from_weights(weights), image, [name]))[name]


def test_means_are_over_all_positions_of_all_images(weights):
    means = filter_means(weights, iter(IMAGES))
    for name in ("conv1_1", "conv3_2", "conv5_4"):
        flat = [activation(weights, image, name) for image in IMAGES]
        flat = np.concatenate([F.reshape(-1, F.shape[2]) for F in flat])
        assert means[name] == pytest.approx(flat.mean(axis=0), rel=1e-3, abs=1e-5)


def test_the_normalised_network_has_mean_activation_1(weights):
    means = filter_means(weights, IMAGES)
    result = normalize(weights, means)
    again = filter_means(result, IMAGES)
    assert result.normalized
    assert "normalised" in result.source
    for name, mean in again.items():
        # Scaling up a filter that is almost never active also scales up its rounding errors.
        alive = means[name] > 1e-3 * means[name].mean()
        assert mean[alive] == pytest.approx(1, rel=1e-3)


def test_the_activations_of_the_normalised_network_are_the_scaled_originals(weights):
    means = filter_means(weights, IMAGES)
    result = normalize(weights, means)
    assert check_normalized(weights, result, means, IMAGES[1]) < TOLERANCE
    name = "conv4_2"
    scaled = activation(weights, IMAGES[0], name) / np.where(means[name] > 0, means[name], 1)
    assert activation(result, IMAGES[0], name) == pytest.approx(scaled, rel=1e-3, abs=1e-4)


def test_the_check_refuses_a_network_with_other_activations(weights):
    means = filter_means(weights, IMAGES)
    result = normalize(weights, means)
    spoilt = dict(result.tensors)
    spoilt["conv2_1.weight"] = 1.1 * spoilt["conv2_1.weight"]
    with pytest.raises(InputError, match="cannot be normalised"):
        check_normalized(weights, replace(result, tensors=spoilt), means, IMAGES[0])


def test_a_filter_that_is_never_active_keeps_its_scale(weights):
    dead = dict(weights.tensors)
    dead["conv1_1.bias"] = dead["conv1_1.bias"].copy()
    dead["conv1_1.bias"][2] = -1e6
    dead = replace(weights, tensors=dead)
    means = filter_means(dead, IMAGES)
    result = normalize(dead, means)
    assert means["conv1_1"][2] == 0
    assert np.array_equal(result.tensors["conv1_1.weight"][2], dead.tensors["conv1_1.weight"][2])
    assert check_normalized(dead, result, means, IMAGES[0]) < TOLERANCE


@pytest.mark.slow
def test_the_real_vgg19_is_normalised(vgg19):
    weights = load_weights(vgg19)
    means = filter_means(weights, IMAGES[:2])
    result = normalize(weights, means)
    assert check_normalized(weights, result, means, IMAGES[2]) < 1e-4
