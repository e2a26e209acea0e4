"""J is the mean over the photos, and so is its gradient."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.lab.training import OUTPUT_SCALE, small_training


@pytest.fixture
def small(rng):
    return small_training(rng)


def gradient(small, which, layers=None):
    judges = small.judges()
    return maths.training_gradient(
        layers or small.layers,
        [small.images[k] for k in which],
        [judges[k] for k in which],
        OUTPUT_SCALE,
    )


def test_the_loss_and_every_gradient_are_the_means_of_those_of_the_photos(small):
    loss, both = gradient(small, [0, 1])
    alone = [gradient(small, [k]) for k in (0, 1)]
    assert loss == pytest.approx(np.mean([f for f, _ in alone]), rel=1e-14)
    for layer, arrays in both.items():
        for name, array in arrays.items():
            mean = (alone[0][1][layer][name] + alone[1][1][layer][name]) / 2
            assert np.allclose(array, mean, rtol=1e-12, atol=1e-12)


def test_the_loss_is_the_objective_at_the_painted_pictures(small):
    loss, _ = gradient(small, [0, 1])
    pictures = [OUTPUT_SCALE * maths.forward(small.layers, x)["sigmoid"] for x in small.images]
    terms = [judge(picture)[0] for judge, picture in zip(small.judges(), pictures, strict=True)]
    assert loss == pytest.approx(np.mean(terms), rel=1e-14)


def test_every_array_of_every_layer_has_a_gradient_of_its_shape(small):
    _, found = gradient(small, [0])
    layers = {layer.name: layer for layer in small.layers}
    named = {name for name in layers if name.rpartition("_")[2].startswith(("conv", "norm"))}
    assert set(found) == named
    for layer, arrays in found.items():
        for name, array in arrays.items():
            assert array.shape == getattr(layers[layer], name).shape


def test_biases_in_front_of_a_normalisation_have_the_derivative_0(small):
    _, found = gradient(small, [0, 1])
    biases = [name for name, arrays in found.items() if "bias" in arrays]
    assert len(biases) == 6
    for layer in biases:
        assert np.all(np.abs(found[layer]["bias"]) <= 1e-12 * np.abs(found[layer]["kernel"]).max())


def test_as_many_judges_as_photos_are_needed(small):
    with pytest.raises(ValueError, match="zip"):
        maths.training_gradient(small.layers, small.images, small.judges()[:1], OUTPUT_SCALE)
