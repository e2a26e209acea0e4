"""Style networks from ONNX: the published files, small graphs, and hostile ones."""

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.maths.layers import Add, Conv, DepthwiseConv, GlobalPool, Pad, Relu6, Upsample
from npstyle.networks.convert_style import convert_style_network
from npstyle.networks.formats.onnx_graph import is_onnx
from npstyle.networks.weights import find_weights

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install -e '.[onnx]'")

from onnx import TensorProto, numpy_helper

from npstyle.networks.formats.onnx import read_style_onnx
from tests.networks.onnx_graphs import CODE, constant, node, write_graph, write_style

ANY = ("arbitrary_predict.onnx", "arbitrary_transform.onnx")


def write(path, nodes, constants):
    return write_graph(path, nodes, constants, {"x": (1, 3, 8, 8)})


def painter(rng):
    """A convolution of the mirrored image and a sigmoid: nodes and constants."""
    nodes = [
        node("Pad", ["x", "pads"], "padded", mode="reflect"),
        node("Conv", ["padded", "K", "b"], "z", kernel_shape=[3, 3]),
        node("Sigmoid", ["z"], "y"),
    ]
    constants = [
        constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        constant("K", rng.standard_normal((3, 3, 3, 3)).astype(np.float32)),
        constant("b", np.zeros(3, np.float32)),
    ]
    return nodes, constants


@pytest.mark.parametrize(
    ("sources", "name"), [(ANY, "any_style"), (("multistyle26.onnx",), "multistyle26")]
)
def test_the_networks_of_the_package_are_the_published_ones(shared, tmp_path, sources, name):
    folder = shared / "weights" / "onnx"
    converted = tmp_path / "a.npz"
    convert_style_network([folder / source for source in sources], converted)
    assert converted.read_bytes() == find_weights(f"{name}.npz").read_bytes()


def test_the_order_of_the_two_files_does_not_matter(shared, tmp_path):
    folder = shared / "weights" / "onnx"
    network = convert_style_network([folder / name for name in ANY[::-1]], tmp_path / "a.npz")
    assert network.code == 100
    assert network.styles == 0
    kinds = {type(layer) for layer in network.predictor}
    assert {Pad, Conv, DepthwiseConv, Relu6, Add, GlobalPool} == kinds
    assert sum(isinstance(layer, Upsample) for layer in network.transformer) == 2


def test_one_network_alone_that_reads_a_painting_is_refused(shared, tmp_path):
    source = shared / "weights" / "onnx" / ANY[0]
    with pytest.raises(InputError, match="give one network that paints"):
        convert_style_network([source], tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_a_transformer_network_without_its_predictor_can_mix_codes(shared, tmp_path):
    source = shared / "weights" / "onnx" / ANY[1]
    assert convert_style_network([source], tmp_path / "a.npz").styles == 100


def test_a_small_network_is_read(rng, tmp_path):
    nodes, constants = painter(rng)
    source = write(tmp_path / "a.onnx", nodes, constants)
    network = convert_style_network([source], tmp_path / "a.npz")
    (conv, _) = network.transformer
    assert (conv.stride, conv.padding, conv.padding_mode) == (1, 1, "reflect")
    K = numpy_helper.to_array(constants[1])
    assert np.array_equal(conv.kernel, K.transpose(2, 3, 1, 0))
    assert network.styles == 1
    assert network.license == "that of the source"


def test_a_network_with_every_kind_of_node_is_read(rng, tmp_path):
    network = convert_style_network([write_style(tmp_path / "a.onnx", rng)], tmp_path / "a.npz")
    kinds = [type(layer).__name__ for layer in network.transformer]
    assert kinds == [
        *("Conv", "ConditionalNorm", "Relu", "Conv", "ConditionalNorm", "Add", "Upsample", "Conv"),
        "Sigmoid",
    ]
    assert network.code == CODE
    assert network.transformer[1].epsilon == pytest.approx(1e-5)


def test_8_bit_weights_stay_8_bit(rng, tmp_path):
    nodes, constants = painter(rng)
    q = rng.integers(-127, 128, (3, 3, 3, 3)).astype(np.int8)
    scale = rng.uniform(0.1, 1, 3).astype(np.float32)
    zero = constant("zero", np.zeros(3, np.int8))
    constants[1:2] = [constant("q", q), constant("s", scale), zero]
    nodes.insert(0, node("DequantizeLinear", ["q", "s", "zero"], "K", axis=0))
    path = tmp_path / "a.npz"
    network = convert_style_network([write(tmp_path / "a.onnx", nodes, constants)], path)
    with np.load(path) as arrays:
        assert np.array_equal(arrays["transformer/conv1.weight"], q)
        assert np.array_equal(arrays["transformer/conv1.weight_scale"], scale)
    kernel = (q * scale[:, None, None, None]).transpose(2, 3, 1, 0)
    assert np.allclose(network.transformer[0].kernel, kernel, rtol=1e-6)


def unknown_operation(nodes, constants):
    nodes.insert(1, node("Softmax", ["padded"], "soft"))
    return "the soft"


def another_padding(nodes, constants):
    nodes[0] = node("Pad", ["x", "pads"], "padded", mode="edge")
    return "the padded"


def dilated(nodes, constants):
    nodes[1] = node("Conv", ["padded", "K", "b"], "z", dilations=[2, 2])
    return "the z"


def grouped(nodes, constants):
    nodes[1] = node("Conv", ["padded", "K", "b"], "z", group=3)
    return "the z"


def computed_kernel(nodes, constants):
    nodes[1] = node("Conv", ["padded", "x"], "z")
    return "the z"


def missing_input(nodes, constants):
    nodes[1] = node("Conv", ["nothing", "K", "b"], "z")
    return "the z"


@pytest.mark.parametrize(
    "spoil",
    [unknown_operation, another_padding, dilated, grouped, computed_kernel, missing_input],
)
def test_the_layer_that_is_unknown_is_named(rng, tmp_path, spoil):
    nodes, constants = painter(rng)
    name = spoil(nodes, constants)
    path = write(tmp_path / "a.onnx", nodes, constants)
    with pytest.raises(InputError, match=rf"a.onnx: the layer {name} \(\w+\) is unknown"):
        read_style_onnx(path)


def test_weights_in_another_file_are_refused(rng, tmp_path):
    nodes, constants = painter(rng)
    tensor = constants[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(InputError, match="K lies in another file, which is not read"):
        read_style_onnx(write(tmp_path / "a.onnx", nodes, constants))


def test_a_tensor_larger_than_the_file_is_refused_before_it_is_made(rng, tmp_path):
    nodes, constants = painter(rng)
    del constants[1].dims[:]
    constants[1].dims.extend([1 << 20, 1 << 20, 3, 3])
    with pytest.raises(InputError, match="more than the file contains"):
        read_style_onnx(write(tmp_path / "a.onnx", nodes, constants))


def test_a_truncated_file_is_refused(rng, tmp_path):
    nodes, constants = painter(rng)
    path = write(tmp_path / "a.onnx", nodes, constants)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_style_onnx(path)


def test_damaged_files_are_read_or_refused_and_nothing_else(rng, tmp_path):
    path = write_style(tmp_path / "a.onnx", rng)
    data, refused = path.read_bytes(), 0
    for _ in range(300):
        mutated = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            mutated[at] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            convert_style_network([path], tmp_path / "a.npz")
        except InputError:
            refused += 1
    assert 50 < refused < 300


def test_the_start_of_a_file_tells(rng, tmp_path):
    assert is_onnx(write(tmp_path / "a.onnx", *painter(rng)).read_bytes()[:3])
    for start in (b"PK\x03", b"\x80\x02c", b"\x89HD", b"\n\x05V", b""):
        assert not is_onnx(start)
