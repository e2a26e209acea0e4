"""The numbers of a VGG decide which input it expects."""

import numpy as np
import pytest

from npstyle.errors import InputError, InputWarning
from npstyle.networks.activations import activations
from npstyle.networks.architecture import vgg_table
from npstyle.networks.convert import convert, read_foreign
from npstyle.networks.formats.found import CAFFE, RGB_255, TORCHVISION, TORCHVISION_FEATURES
from npstyle.networks.network import network_from_weights
from npstyle.networks.normalize import filter_means, normalize
from npstyle.networks.verify import draw_picture
from npstyle.networks.weights import Weights, load_weights
from tests.networks import foreign as f

UNIT = 1 / TORCHVISION.scale[1]
INPUTS = {"bgr": ("BGR", 1), "rgb255": ("RGB", 1), "rgb": ("RGB", UNIT)}
EXPECTED = {"bgr": CAFFE, "rgb255": RGB_255, "rgb": TORCHVISION}


def names_of_features(values):
    """The tensors of the module `features` alone, N.weight."""
    tensors = f.torch_names(values)
    return {name.removeprefix("features."): array for name, array in tensors.items()}


NAMES = {"named": f.caffe_names, "numbered": f.torch_names, "alone": names_of_features}


def read(path, tensors, asked=None):
    return read_foreign(f.write_safetensors(path / "a.safetensors", tensors), asked)


def preprocessing(weights):
    return weights.channel_order, weights.mean, weights.scale


def expected(name, names=f.caffe_names):
    of_features = name == "rgb255" and names == f.torch_names
    kind = TORCHVISION_FEATURES if of_features else EXPECTED[name]
    return kind.channel_order, kind.mean, kind.scale


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("names", NAMES)
def test_the_first_filters_of_simonyan_and_zisserman_decide_under_all_names(
    rng, tmp_path, names, kind
):
    values = f.for_input(f.like_caffes(f.draw_values(rng, "D"), rng), *INPUTS[kind])
    weights = read(tmp_path, NAMES[names](values))
    assert preprocessing(weights) == expected(kind, NAMES[names])
    assert "Oxford" in weights.license


def trained(rng, unit):
    """Values whose last layer varies by about 1 where the input has a unit of `unit`."""
    values = f.draw_values(rng, "A", width=16)
    for layer, (kernel, bias) in values.items():
        gain = np.float32(np.sqrt(2 / (9 * kernel.shape[1])))
        values[layer] = kernel * gain, bias * np.float32(0.1)
    network = network_from_weights(as_weights(values, TORCHVISION))
    F, grey = (
        next(activations(network, pixels, ["conv5_2"]))[1]
        for pixels in (draw_picture(), np.zeros((48, 64, 3)) + TORCHVISION.mean)
    )
    response = np.sqrt(np.mean((F - grey) ** 2))
    values["conv5_2"] = tuple(array / response for array in values["conv5_2"])
    kernel, bias = values["conv1_1"]
    return values | {"conv1_1": (kernel / np.float32(unit), bias)}


def as_weights(values, kind):
    preprocessing = kind.channel_order, kind.mean, kind.scale
    return Weights("", vgg_table("A"), f.caffe_names(values), *preprocessing, "", "", "")


def test_other_trainings_in_torchvisions_unit_are_recognised_by_the_response(rng, tmp_path):
    weights = read(tmp_path, f.caffe_names(trained(rng, 1)))
    assert preprocessing(weights) == expected("rgb")


def test_other_trainings_for_0_to_255_are_not_taken_for_torchvisions(rng, tmp_path):
    with pytest.raises(InputError, match=r"made for 0\.\.255.*--input bgr .*--input rgb"):
        read(tmp_path, f.caffe_names(trained(rng, UNIT)))


def test_other_trainings_for_0_to_255_under_torchvisions_names_are_warned_of(rng, tmp_path):
    with pytest.warns(InputWarning, match=r"responds like a network for 0\.\.255; .* --input"):
        weights = read(tmp_path, f.torch_names(trained(rng, UNIT)))
    assert preprocessing(weights) == expected("rgb")


def test_random_numbers_do_not_decide(rng, tmp_path):
    values = f.draw_values(rng, "B")
    filters = f.draw_values(rng, "A", width=64)["conv1_1"]
    second, bias = values["conv1_2"]
    channels = rng.standard_normal((len(second), 64, 3, 3)).astype(np.float32)
    values |= {"conv1_1": filters, "conv1_2": (channels, bias)}
    assert preprocessing(read(tmp_path, f.torch_names(values))) == expected("rgb")
    for names in (f.caffe_names, names_of_features):
        with pytest.raises(InputError, match=r"neither its .* --input bgr .*rgb .*rgb255 "):
            read(tmp_path, names(values))


@pytest.mark.parametrize("kind", INPUTS)
def test_the_users_word_has_precedence(rng, tmp_path, kind):
    values = f.like_caffes(f.draw_values(rng, "D"), rng)
    weights = read(tmp_path, f.caffe_names(values), kind)
    assert preprocessing(weights) == expected(kind)


def test_the_real_vgg19_is_recognised_in_every_convention(shared, vgg19, tmp_path):
    real = load_weights(vgg19)
    assert real.channel_order == "BGR"
    first = {"conv1_1": (real.tensors["conv1_1.weight"], real.tensors["conv1_1.bias"])}
    rng = np.random.default_rng(0)
    channels = rng.standard_normal((2, 64, 3, 3)).astype(np.float32)
    values = f.draw_values(rng)
    values |= first | {"conv1_2": (channels, values["conv1_2"][1])}
    for kind, conversion in INPUTS.items():
        weights = read(tmp_path, f.torch_names(f.for_input(values, *conversion)))
        assert preprocessing(weights) == expected(kind, f.torch_names)


def scaled_to_unit_means(values):
    """The values, scaled so that every filter of the first two blocks has mean activation 1."""
    weights = as_weights(values, CAFFE)
    picture = np.random.default_rng(1).normal(1, 0.1, (*draw_picture().shape,)) * draw_picture()
    scaled = normalize(weights, filter_means(weights, [picture])).tensors
    return {layer: (scaled[f"{layer}.weight"], scaled[f"{layer}.bias"]) for layer in values}


def test_torchvisions_features_have_their_published_input():
    order, mean, scale = expected("rgb255", f.torch_names)
    pixels = np.array([10.0, 100.0, 200.0])
    published = (pixels / 255 - (0.48235, 0.45882, 0.40784)) / (1 / 255)
    assert order == "RGB"
    assert np.allclose((pixels - mean) * scale, published)


def test_a_network_of_mean_activation_1_is_recognised_and_marked(rng, tmp_path):
    values = trained(rng, UNIT)
    plain = f.write_caffe(tmp_path / "a.caffemodel", values)
    assert not convert(plain, tmp_path / "a.npz").normalized
    normalised = f.write_caffe(tmp_path / "b.caffemodel", scaled_to_unit_means(values))
    assert convert(normalised, tmp_path / "b.npz").normalized
