from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from npstyle import maths
from npstyle.errors import InputError
from npstyle.images.formula import draw_photo
from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu, Upsample
from npstyle.networks.convert_style import convert_style_network, reads_as_style_network
from npstyle.networks.formats.fast_neural_style import find_style_network, is_fast_neural_style
from npstyle.onepass.stylize import bind_style_network, paint
from npstyle.run.stylize import StyleSettings, stylize
from tests.networks import foreign as f
from tests.networks.fast_neural_style import PUBLISHED, draw_tensors, torch_network
from tests.numeric import relative_error

SOURCE = Path("a.pth")
WRITE = {
    "zip": f.write_torch_zip,
    "legacy": f.write_torch_legacy,
    "safetensors": f.write_safetensors,
}


def find(tensors):
    return find_style_network(SOURCE, tensors, lambda array: array)


def test_widths_and_blocks_are_those_of_the_tensors(rng):
    for widths, blocks, decoder in [
        ((4, 6, 8), 2, None),
        ((3, 2, 5), 0, None),
        ((2, 3, 4), 11, (5, 7)),
    ]:
        layers = find(draw_tensors(rng, widths, blocks, decoder)).layers
        kernels = [layer.kernel.shape for layer in layers if isinstance(layer, Conv)]
        assert [shape[3] for shape in kernels[:3]] == list(widths)
        assert [shape[3] for shape in kernels[-3:]] == [*(decoder or widths[1::-1]), 3]
        assert len(kernels) == 6 + 2 * blocks
        assert sum(isinstance(layer, Add) for layer in layers) == blocks


def test_the_layers_are_those_of_the_network(rng):
    layers = find(draw_tensors(rng, blocks=1)).layers
    head = [Conv, InstanceNorm, Relu] * 3
    block = [Conv, InstanceNorm, Relu, Conv, InstanceNorm, Add]
    tail = [Upsample, Conv, InstanceNorm, Relu] * 2 + [Conv]
    assert [type(layer) for layer in layers] == head + block + tail
    convolutions = [layer for layer in layers if isinstance(layer, Conv)]
    assert [layer.stride for layer in convolutions] == [1, 2, 2, 1, 1, 1, 1, 1]
    assert [layer.padding for layer in convolutions] == [4, 1, 1, 1, 1, 1, 1, 4]
    assert {layer.padding_mode for layer in convolutions} == {"reflect"}
    assert next(layer.skip for layer in layers if isinstance(layer, Add)) == "relu3"


def test_running_statistics_are_not_read(rng):
    tensors = draw_tensors(rng, running=True)
    read = []
    find_style_network(SOURCE, tensors, lambda array: read.append(array) or array)
    assert len(read) == len(draw_tensors(rng)) == len(tensors) - 18
    assert len(find(tensors).ignored) == 18
    assert find(draw_tensors(rng)).ignored == ()


def test_the_numbers_of_a_vgg_are_not_taken_for_a_style_network(rng):
    vgg = f.draw_values(rng)
    assert is_fast_neural_style(draw_tensors(rng))
    assert not is_fast_neural_style(f.torch_names(vgg))
    assert not is_fast_neural_style(f.caffe_names(vgg))
    with pytest.raises(InputError, match=r"fast_neural_style but not conv1\.conv2d\.weight"):
        find(f.torch_names(vgg))


@pytest.mark.parametrize("prefix", ["module.", "model/", "state_dict/module."])
def test_a_prefix_and_a_nesting_are_left_out(rng, prefix):
    tensors = draw_tensors(rng)
    others = {"optimizer/state/0/exp_avg": np.zeros(3), "loss.0.weight": np.zeros((4, 3, 3, 3))}
    found = find(f.with_prefix(tensors, prefix) | others)
    assert len(found.layers) == len(find(tensors).layers)
    assert np.array_equal(found.layers[0].bias, tensors["conv1.conv2d.bias"])


def test_several_style_networks_in_one_file_are_listed(rng):
    tensors = draw_tensors(rng)
    two = f.with_prefix(tensors, "model/") | f.with_prefix(tensors, "ema/module.")
    with pytest.raises(InputError, match=r"2 networks .*under ema/module\., model/; save"):
        find(two)


def incomplete(tensors):
    del tensors["res2.in1.bias"]
    return r"but not res2\.in1\.bias"


def without_a_block(tensors):
    for name in [name for name in tensors if name.startswith("res1")]:
        del tensors[name]
    return r"but not res1\.conv1\.conv2d\.weight"


def of_another_kernel(tensors):
    tensors["conv1.conv2d.weight"] = np.zeros((4, 3, 7, 7), np.float32)
    return r"conv1\.conv2d\.weight has shape \(4, 3, 7, 7\), .* it is \(any, 3, 9, 9\)"


def of_other_channels(tensors):
    tensors["conv2.conv2d.weight"] = np.zeros((6, 5, 3, 3), np.float32)
    return r"conv2\.conv2d\.weight has shape \(6, 5, 3, 3\), .* it is \(any, 4, 3, 3\)"


def of_a_block_that_changes_width(tensors):
    tensors["res1.conv2.conv2d.weight"] = np.zeros((9, 8, 3, 3), np.float32)
    return r"res1\.conv2\.conv2d\.weight .* it is \(8, 8, 3, 3\)"


def without_channels(tensors):
    tensors["conv1.conv2d.weight"] = np.zeros((0, 3, 9, 9), np.float32)
    return r"conv1\.conv2d\.weight has shape \(0, 3, 9, 9\)"


def of_four_colours(tensors):
    tensors["deconv3.conv2d.weight"] = np.zeros((4, 4, 9, 9), np.float32)
    return r"deconv3\.conv2d\.weight .* it is \(3, 4, 9, 9\)"


def with_another_layer(tensors):
    tensors["deconv4.conv2d.weight"] = np.zeros((3, 3, 9, 9), np.float32)
    return r"has the tensor deconv4\.conv2d\.weight, which no network"


def that_normalises_by_running_statistics(tensors):
    tensors["in1.num_batches_tracked"] = np.zeros((), np.int64)
    return r"has the tensor in1\.num_batches_tracked, which no network"


def with_statistics_of_no_layer(tensors):
    tensors["in9.running_mean"] = np.zeros(4, np.float32)
    return r"has the tensor in9\.running_mean, which no network"


def of_integers(tensors):
    tensors["in1.bias"] = np.zeros(4, np.int64)
    return r"in1\.bias is int64; save it as float32"


def with_nan(tensors):
    tensors["in1.bias"][2] = np.nan
    return r"in1\.bias contains NaN or infinity"


@pytest.mark.parametrize(
    "damage",
    [
        incomplete,
        without_a_block,
        of_another_kernel,
        of_other_channels,
        of_a_block_that_changes_width,
        without_channels,
        of_four_colours,
        with_another_layer,
        that_normalises_by_running_statistics,
        with_statistics_of_no_layer,
        of_integers,
        with_nan,
    ],
)
def test_tensors_of_another_network_are_refused(rng, damage):
    tensors = draw_tensors(rng)
    says = damage(tensors)
    with pytest.raises(InputError, match=rf"a\.pth: .*{says}"):
        find(tensors)


@pytest.mark.parametrize("layout", WRITE)
@pytest.mark.parametrize("running", [False, True])
def test_a_file_is_recognised_by_its_content_and_converted(rng, tmp_path, layout, running):
    tensors = draw_tensors(rng, running=running)
    source = WRITE[layout](tmp_path / "candy.model", tensors)
    assert reads_as_style_network(source)
    network = convert_style_network([source], tmp_path / "out.npz")
    assert network.name == "candy"
    assert network.styles == 1
    assert network.license == "that of the source"
    assert len(network.source_sha256) == 64
    assert ("without 18 running means and variances" in network.source) == running
    assert [layer.name for layer in network.transformer] == [
        layer.name for layer in find(tensors).layers
    ]


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("keys", [["state_dict"], ["model"], ["run", "net"]])
def test_a_file_with_the_network_under_any_keys_is_converted(rng, tmp_path, layout, keys):
    tensors = f.with_prefix(draw_tensors(rng), "module.")
    pickled = f.nested_pickle(tensors, keys, legacy=layout == "legacy")
    source = WRITE[layout](tmp_path / "a.pth", tensors, pickled)
    assert reads_as_style_network(source)
    network = convert_style_network([source], tmp_path / "out.npz")
    assert np.array_equal(network.transformer[0].bias, tensors["module.conv1.conv2d.bias"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float16_stays_float16_and_the_others_become_float32(rng, tmp_path, dtype):
    tensors = {name: array.astype(dtype) for name, array in draw_tensors(rng).items()}
    source = f.write_safetensors(tmp_path / "a.safetensors", tensors)
    network = convert_style_network([source], tmp_path / "a.npz")
    kept = np.float16 if dtype == np.float16 else np.float32
    with np.load(tmp_path / "a.npz") as arrays:
        stored = {name: arrays[name] for name in arrays.files if name != "meta"}
    assert len(stored) == len(tensors)
    assert {array.dtype for array in stored.values()} == {np.dtype(kept)}
    weight = tensors["res1.conv1.conv2d.weight"]
    assert np.array_equal(stored["transformer/res1.conv1.weight"], weight)
    assert np.array_equal(stored["transformer/res1.in1.scale"], tensors["res1.in1.weight"])
    kernel = next(layer.kernel for layer in network.transformer if layer.name == "res1.conv1")
    assert np.array_equal(kernel, weight.transpose(2, 3, 1, 0).astype(np.float32))


def test_a_converted_network_paints_as_the_textbook_does(rng, tmp_path):
    source = f.write_torch_zip(tmp_path / "a.pth", draw_tensors(rng))
    network = convert_style_network([source], tmp_path / "a.npz")
    photo = draw_photo(32, 48)
    expected = maths.forward(network.transformer, photo)["deconv3"]
    found = paint(bind_style_network(network, dtype=np.float64), photo, np.zeros(0))
    assert relative_error(found, expected) <= 1e-12


def test_every_truncation_is_refused(rng, tmp_path):
    for layout, write in WRITE.items():
        source = write(tmp_path / "a.pth", draw_tensors(rng))
        data = source.read_bytes()
        for length in np.linspace(64, len(data) - 1, 20).astype(int):
            source.write_bytes(data[:length])
            with pytest.raises(InputError, match=r"a\.pth: "):
                convert_style_network([source], tmp_path / "out.npz")
        assert not (tmp_path / "out.npz").exists(), layout


def test_a_file_of_tensors_is_converted_alone(rng, tmp_path):
    sources = [f.write_torch_zip(tmp_path / f"{n}.pth", draw_tensors(rng)) for n in "ab"]
    with pytest.raises(InputError, match=r"a\.pth: .* convert it alone"):
        convert_style_network(sources, tmp_path / "out.npz")


def loaded(tensors, widths, blocks):
    """The network in PyTorch with these tensors; running statistics are left out, as in 0.4."""
    torch = pytest.importorskip("torch")
    network = torch_network(widths, blocks)
    network.load_state_dict(
        {n: torch.tensor(array) for n, array in tensors.items() if ".running_" not in n}
    )
    return network.eval()


def in_torch(network, photo):
    """The picture (height, width, 3) that PyTorch paints, in the precision of the module."""
    import torch

    dtype = next(network.parameters()).dtype
    with torch.no_grad():
        output = network(torch.tensor(photo.transpose(2, 0, 1)[None].copy(), dtype=dtype))
    return output.numpy()[0].transpose(1, 2, 0)


def saved(path, tensors, layout):
    """Save the tensors by PyTorch itself."""
    import torch

    made = OrderedDict((name, torch.tensor(array)) for name, array in tensors.items())
    if layout == "safetensors":
        return f.write_safetensors(path, tensors)
    torch.save(made, path, _use_new_zipfile_serialization=layout == "zip")
    return path


@pytest.mark.peers
@pytest.mark.parametrize("layout", WRITE)
@pytest.mark.parametrize("running", [False, True])
def test_a_file_saved_by_pytorch_paints_pytorchs_picture(rng, tmp_path, layout, running):
    tensors = draw_tensors(rng, PUBLISHED, 5, running=running)
    network = loaded(tensors, PUBLISHED, 5)
    converted = convert_style_network(
        [saved(tmp_path / "a.pth", tensors, layout)], tmp_path / "a.npz"
    )
    photo = draw_photo(64, 48)
    expected = in_torch(network.double(), photo)
    for dtype, bound in ((np.float32, 1e-4), (np.float64, 1e-9)):
        found = paint(bind_style_network(converted, dtype=dtype), photo, np.zeros(0))
        assert found.dtype == dtype
        assert relative_error(found, expected) <= bound


@pytest.mark.peers
@pytest.mark.parametrize("size", [(37, 50), (41, 47), (16, 16), (18, 19)])
def test_a_size_that_is_no_multiple_of_4_gives_the_corner_of_pytorchs_picture(rng, tmp_path, size):
    """PyTorch's picture is rounded up to multiples of 4; ours is its upper left part."""
    widths, blocks = (8, 12, 16), 3
    tensors = draw_tensors(rng, widths, blocks)
    source = saved(tmp_path / "a.pth", tensors, "zip")
    converted = convert_style_network([source], tmp_path / "a.npz")
    photo = draw_photo(*size)
    whole = in_torch(loaded(tensors, widths, blocks).double(), photo)
    assert whole.shape == (*(-(-n // 4) * 4 for n in size), 3)
    found = paint(bind_style_network(converted, dtype=np.float64), photo, np.zeros(0))
    assert relative_error(found, whole[: size[0], : size[1]]) <= 1e-9


@pytest.mark.peers
def test_the_painted_picture_is_pytorchs_limited_to_pixels(rng, tmp_path):
    tensors = draw_tensors(rng)
    source = saved(tmp_path / "a.pth", tensors, "legacy")
    convert_style_network([source], tmp_path / "a.npz")
    photo = draw_photo(48, 64)
    expected = in_torch(loaded(tensors, (4, 6, 8), 2), photo)
    assert expected.min() < 0
    assert expected.max() > 255
    found = stylize(photo, None, StyleSettings(style=str(tmp_path / "a.npz")))
    assert relative_error(found.image, np.clip(expected, 0, 255)) <= 1e-4
    assert found.record["network"] == "a"


@pytest.mark.peers
def test_the_state_dictionary_of_the_module_has_the_drawn_names(rng):
    pytest.importorskip("torch")
    shapes = {name: tuple(t.shape) for name, t in torch_network().state_dict().items()}
    assert shapes == {name: a.shape for name, a in draw_tensors(rng, PUBLISHED, 5).items()}
