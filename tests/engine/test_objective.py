from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.cpu.losses import content_loss, gram_loss, mean_gram, total_variation
from npstyle.engine.cpu.preprocessing import preprocess
from npstyle.engine.losses import term
from npstyle.errors import InputError
from npstyle.maths.layers import Pool
from npstyle.networks.network import configure
from tests.numeric import central_difference, make_objective, run_forward

CONTENT = {"conv2_1": 1.0}
STYLE = {"conv1_1": 0.5, "conv2_1": 2.0}


@pytest.fixture
def pictures(rng):
    photo, _painting, picture = (rng.uniform(0, 255, (8, 6, 3)) for _ in range(3))
    return photo, rng.uniform(0, 255, (7, 9, 3)), picture


def make(network, pictures, **changes):
    options = {"content_layers": CONTENT, "style_layers": STYLE} | changes
    return make_objective(network, pictures[0], pictures[1], **options)


@pytest.mark.parametrize("scaling", ["means", "sums"])
@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
def test_gradient_equals_central_differences(small_network, pictures, scaling, pooling):
    network = configure(small_network, pooling, np.float64)
    objective = make(
        network, pictures, content_weight=3.0, style_weight=50.0, tv_weight=1e-3, scaling=scaling
    )
    picture = pictures[2]
    numeric = central_difference(lambda x: objective(x).loss, picture, step=1e-4)
    gradient = objective(picture).gradient
    assert np.max(np.abs(gradient - numeric)) <= 1e-6 * np.max(np.abs(numeric))


def test_a_loss_at_a_pooling_without_a_relu_sees_negative_values(small_network, pictures):
    network = replace(small_network, layers=(Pool("pool0", 2, 2, "avg"), *small_network.layers))
    objective = make(network, pictures, content_layers={"pool0": 1.0}, style_layers={"pool0": 1.0})
    picture = pictures[2]
    numeric = central_difference(lambda x: objective(x).loss, picture, step=1e-4)
    gradient = objective(picture).gradient
    assert np.max(np.abs(gradient - numeric)) <= 1e-6 * np.max(np.abs(numeric))


def test_terms_are_the_weighted_losses_of_the_layers(small_network, pictures):
    objective = make(
        small_network,
        pictures,
        content_weight=3.0,
        style_weight=50.0,
        tv_weight=1e-3,
        scaling="sums",
    )

    def activations(pixels):
        image = preprocess(
            pixels, small_network.channel_order, small_network.mean, small_network.scale, float
        )
        return run_forward(small_network, image, ["conv1_1", "conv2_1"])[0]

    photo, painting, picture = (activations(pixels) for pixels in pictures)
    expected = {"content conv2_1": 3 * content_loss(picture["conv2_1"], photo["conv2_1"])}
    for name, weight in STYLE.items():
        grams = mean_gram(picture[name]), mean_gram(painting[name])
        expected[f"style {name}"] = 50 * weight * gram_loss(*grams)
    expected["tv"] = 1e-3 * total_variation(pictures[2])
    evaluation = objective(pictures[2])
    assert evaluation.parts == pytest.approx(expected, rel=1e-12)
    assert evaluation.loss == pytest.approx(sum(expected.values()), rel=1e-12)
    assert term(evaluation.parts, "style") == pytest.approx(
        expected["style conv1_1"] + expected["style conv2_1"]
    )


def test_means_are_the_sums_divided_by_the_counts_of_the_published_programs(
    small_network, pictures
):
    sums = make(small_network, pictures, scaling="sums")(pictures[2]).parts
    means = make(small_network, pictures, scaling="means")(pictures[2]).parts
    positions, channels = 4 * 3, {"conv1_1": 4, "conv2_1": 6}
    assert means["content conv2_1"] == pytest.approx(
        sums["content conv2_1"] * 2 / (positions * channels["conv2_1"])
    )
    for name, count in channels.items():
        assert means[f"style {name}"] == pytest.approx(sums[f"style {name}"] * 4 / count**2)


def test_content_is_zero_at_the_photo_and_style_at_the_painting(small_network, pictures):
    photo = pictures[0]
    objective = make_objective(
        small_network, photo, photo, content_layers=CONTENT, style_layers=STYLE
    )
    evaluation = objective(photo)
    assert evaluation.loss == 0
    assert not evaluation.gradient.any()


def test_two_names_of_one_activation_are_one_layer(small_network, pictures):
    objective = make(small_network, pictures, content_layers={"relu2_1": 1.0})
    assert set(objective(pictures[2]).parts) == {
        "content conv2_1",
        "style conv1_1",
        "style conv2_1",
    }


def test_the_same_picture_twice_gives_the_same_bits(small_network, pictures):
    objective = make(configure(small_network, "avg", np.float32), pictures)
    first, second = objective(pictures[2]), objective(pictures[2])
    assert first.loss == second.loss
    assert np.array_equal(first.gradient, second.gradient)
    assert first.gradient.dtype == np.float64


def test_wrong_use_raises_an_error(small_network, pictures):
    with pytest.raises(InputError, match="name a layer"):
        make(small_network, pictures, content_layers={}, style_layers={})
    with pytest.raises(InputError, match="conv7_1"):
        make(small_network, pictures, style_layers={"conv7_1": 1.0})
    with pytest.raises(ValueError, match="photo is"):
        make(small_network, pictures)(np.zeros((3, 3, 3)))
