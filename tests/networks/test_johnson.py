"""The network that is trained: its shapes, its first weights, and its file."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu, Sigmoid, Upsample
from npstyle.networks.johnson import BLOCKS, transformer_layers, weight_count
from npstyle.networks.style_layers import tensors_of
from npstyle.networks.style_network import StyleNetwork, load_style_network, save_style_network


def weights(layers):
    return sum(array.size for _, array in tensors_of(layers))


@pytest.mark.parametrize("width", [1, 3, 16, 32])
def test_the_number_of_weights_is_counted_without_making_them(width):
    assert weights(transformer_layers(width, 0)) == weight_count(width)


def test_the_layers_are_those_of_the_table():
    layers = transformer_layers(2, 0)
    convolutions = [layer for layer in layers if isinstance(layer, Conv)]
    shapes = [(layer.kernel.shape, layer.stride) for layer in convolutions]
    block = [((3, 3, 8, 8), 1)] * 2 * BLOCKS
    assert shapes == [
        ((9, 9, 3, 2), 1),
        ((3, 3, 2, 4), 2),
        ((3, 3, 4, 8), 2),
        *block,
        ((3, 3, 8, 4), 1),
        ((3, 3, 4, 2), 1),
        ((9, 9, 2, 3), 1),
    ]
    kinds = [type(layer) for layer in layers]
    head, rectified = [Conv, InstanceNorm, Relu], [Upsample, Conv, InstanceNorm, Relu]
    inside = [Conv, InstanceNorm, Relu, Conv, InstanceNorm, Add]
    assert kinds == [*head * 3, *inside * 5, *rectified * 2, Conv, InstanceNorm, Sigmoid]


def test_names_are_unique_and_every_sum_adds_the_input_of_its_block():
    layers = transformer_layers(1, 0)
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    for k, layer in enumerate(layers):
        if isinstance(layer, Add):
            assert layer.skip == names[k - 6]


def test_every_convolution_keeps_the_size_at_its_stride_and_mirrors_the_edges():
    for layer in transformer_layers(1, 0):
        if isinstance(layer, Conv):
            assert layer.padding == layer.kernel.shape[0] // 2
            assert layer.padding_mode == "reflect"


@pytest.mark.parametrize("size", [(16, 16), (20, 28)])
def test_the_picture_has_the_size_of_the_photo_and_lies_between_0_and_1(rng, size):
    layers = transformer_layers(2, 0)
    picture = maths.forward(layers, rng.standard_normal((*size, 3)))["sigmoid"]
    assert picture.shape == (*size, 3)
    assert picture.min() > 0
    assert picture.max() < 1


def test_kernels_have_the_variance_of_he_and_the_rest_changes_nothing():
    for layer in transformer_layers(16, 3):
        if isinstance(layer, Conv):
            inputs = layer.kernel[..., 0].size
            assert float(layer.kernel.mean()) == pytest.approx(
                0, abs=0.1 * float(layer.kernel.std())
            )
            assert layer.kernel.var() == pytest.approx(2 / inputs, rel=0.1)
            assert not layer.bias.any()
        elif isinstance(layer, InstanceNorm):
            assert np.all(layer.scale == 1)
            assert not layer.shift.any()


def test_activations_neither_grow_nor_fade_before_any_training(rng):
    layers = transformer_layers(8, 0)
    outputs = maths.forward(layers, rng.standard_normal((32, 32, 3)))
    for layer in layers:
        if isinstance(layer, InstanceNorm):
            assert outputs[layer.name].std() == pytest.approx(1, rel=0.01)


def test_the_seed_determines_the_weights():
    first, again, other = (dict(tensors_of(transformer_layers(2, seed))) for seed in (4, 4, 5))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])
    assert all(array.dtype == np.float32 for array in first.values())


def test_a_file_holds_the_network(tmp_path):
    layers = transformer_layers(2, 0)
    way = "RGB", (127.5,) * 3, (1 / 127.5,) * 3, 255.0, "random", "", ""
    network = StyleNetwork("new", layers, (), 0, *way)
    path = tmp_path / "new.npz"
    packed = {f"transformer/{name}": array for name, array in tensors_of(layers)}
    save_style_network(path, network, packed)
    read = load_style_network(path)
    assert read.styles == 1
    assert [type(layer) for layer in read.transformer] == [type(layer) for layer in layers]
    found = dict(tensors_of(read.transformer))
    assert all(np.array_equal(found[name], array) for name, array in tensors_of(layers))
