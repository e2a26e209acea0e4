from pathlib import Path

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.found import CAFFE, TORCHVISION
from npstyle.networks.formats.state_dict import find_convolutions
from tests.networks import foreign as f

SOURCE = Path("a.pth")


def find(tensors):
    return find_convolutions(SOURCE, tensors, lambda array: array)


@pytest.mark.parametrize(("letter", "last"), [("A", 18), ("B", 22), ("D", 28), ("E", 34)])
def test_torchvisions_layer_numbers_are_mapped_to_blocks(rng, letter, last):
    values = f.draw_values(rng, letter)
    tensors = f.torch_names(values)
    assert max(int(name.split(".")[1]) for name in tensors) == last  # as torchvision counts
    found = find(tensors)
    assert list(found.kernels) == list(values)
    assert all(found.kernels[name] is kernel for name, (kernel, _) in values.items())
    assert found.preprocessing == TORCHVISION


def test_caffes_numbers_under_torchvisions_names_are_identified_by_the_classifier(rng):
    values = f.draw_values(rng)
    assert find(f.torch_names(values, head=(0, 3, 6))).preprocessing == TORCHVISION
    assert find(f.torch_names(values, head=(1, 4, 6))).preprocessing == CAFFE


def test_only_the_convolutions_are_read(rng):
    tensors = f.torch_names(f.draw_values(rng), head=(0, 3, 6))
    read = []
    find_convolutions(SOURCE, tensors, lambda array: read.append(array) or array)
    assert len(read) == 32


def without_bias(tensors):
    del tensors["features.5.bias"]


def of_another_shape(tensors):
    tensors["features.0.weight"] = np.zeros((64, 27))


def with_a_gap(tensors):
    del tensors["features.2.weight"], tensors["features.0.weight"]


def of_another_network(tensors):
    names = list(tensors)
    for name in names:
        tensors[name.replace("features.", "layer")] = tensors.pop(name)


def empty(tensors):
    tensors.clear()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_bias, r"features\.5\.bias is missing"),
        (of_another_shape, r"features\.0\.weight has shape \(64, 27\); it must have 4"),
        (with_a_gap, r"features\.5\.weight is in a position where VGG has no convolution"),
        (of_another_network, r"no tensors of a VGG.*but layer0\.weight"),
        (empty, "but no tensors"),
    ],
)
def test_tensors_that_are_not_a_vgg_are_refused(rng, damage, says):
    tensors = f.torch_names(f.draw_values(rng))
    damage(tensors)
    with pytest.raises(InputError, match=rf"a\.pth: .*{says}"):
        find(tensors)


@pytest.mark.parametrize("place", ["", "module.", "vgg.features.", "features.module.", "net/vgg."])
def test_numbered_tensors_are_found_in_every_place(rng, place):
    values = f.draw_values(rng)
    tensors = {
        name.replace("features.", place): array for name, array in f.torch_names(values).items()
    }
    others = {"optimizer/state/0/exp_avg": np.zeros(3), "decoder.0.weight": np.zeros((4, 3, 3, 3))}
    found = find(tensors | others)
    assert np.array_equal(found.kernels["conv5_4"], values["conv5_4"][0])
    of_torchvision = "features" in place
    assert (found.preprocessing == TORCHVISION) == of_torchvision
    assert (found.preprocessing is None) != of_torchvision


def test_several_vggs_in_one_file_are_listed(rng):
    tensors = f.torch_names(f.draw_values(rng))
    two = f.with_prefix(tensors, "model/") | f.with_prefix(tensors, "ema/module.")
    with pytest.raises(
        InputError,
        match=r"2 networks that are a VGG, under ema/module\.features\., model/features\.",
    ):
        find(two)


def test_names_of_layers_do_not_say_what_the_network_expects(rng):
    assert find(f.caffe_names(f.draw_values(rng))).preprocessing is None
