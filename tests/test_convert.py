import h5py
import numpy as np
import pytest

from npstyle.convert import BLOCKS, convert
from npstyle.errors import InputError
from npstyle.weights import load_weights

NAMES = {"old": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"), "new": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0")}


def keras_arrays(rng, network="vgg19", width=2):
    """Kernels (height, width, in, out) and biases with few channels, as Keras names its layers."""
    arrays, channels = {}, 3
    for block, count in enumerate(BLOCKS[network], start=1):
        for n in range(1, count + 1):
            kernel = rng.standard_normal((3, 3, channels, width * block)).astype(np.float32)
            bias = rng.standard_normal(width * block).astype(np.float32)
            arrays[f"block{block}_conv{n}"] = kernel, bias
            channels = width * block
    return arrays


def write_keras(path, arrays, style="old", top=False):
    with h5py.File(path, "w") as file:
        for layer, parts in arrays.items():
            for name, array in zip(NAMES[style], parts, strict=True):
                file[name.format(layer)] = array
        if top:
            file["fc1/fc1_W_1:0"] = np.zeros((8, 4), np.float32)
    return path


@pytest.mark.parametrize("network", BLOCKS)
@pytest.mark.parametrize(("style", "top"), [("old", False), ("new", False), ("old", True)])
def test_keras_layouts_are_read_with_kernels_turned_to_out_in(rng, tmp_path, network, style, top):
    arrays = keras_arrays(rng, network)
    source = write_keras(tmp_path / "keras.h5", arrays, style, top)
    weights = convert(source, tmp_path / "out.npz")
    assert weights.name == network
    assert weights.channel_order == "BGR"
    assert weights.mean == (103.939, 116.779, 123.68)
    assert len(weights.tensors) == 2 * len(arrays)
    for layer, (kernel, bias) in arrays.items():
        name = "conv" + layer.removeprefix("block").replace("_conv", "_")
        for o, i, y, x in [(0, 0, 0, 1), (1, 2 if "1_1" in name else 1, 2, 0)]:
            assert weights.tensors[f"{name}.weight"][o, i, y, x] == kernel[y, x, i, o]
        assert np.array_equal(weights.tensors[f"{name}.bias"], bias)


def test_the_file_is_recognised_by_content_and_converts_to_the_same_bytes_each_time(rng, tmp_path):
    source = write_keras(tmp_path / "weights.dat", keras_arrays(rng))
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    convert(source, first)
    convert(source, second)
    assert first.read_bytes() == second.read_bytes()


def without_layer(arrays):
    del arrays["block5_conv4"]


def transposed(arrays):
    arrays["block2_conv1"] = (
        arrays["block2_conv1"][0].transpose(3, 2, 0, 1),
        arrays["block2_conv1"][1],
    )


def with_nan(arrays):
    arrays["block3_conv2"][0][0, 0, 0, 0] = np.nan


def wrong_bias(arrays):
    arrays["block1_conv1"] = arrays["block1_conv1"][0], np.zeros(99, np.float32)


def integers(arrays):
    arrays["block1_conv1"] = arrays["block1_conv1"][0].astype(int), arrays["block1_conv1"][1]


def two_kernels(arrays):
    arrays["block1_conv2"] = (arrays["block1_conv2"][0],) * 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_layer, r"\(2, 2, 4, 4, 3\)"),
        (transposed, "block2_conv1"),
        (with_nan, r"keras\.h5: block3_conv2 holds NaN"),
        (wrong_bias, r"conv1_1\.bias"),
        (integers, "block1_conv1"),
        (two_kernels, "block1_conv2"),
    ],
)
def test_a_damaged_source_is_refused_and_nothing_is_written(rng, tmp_path, damage, says):
    arrays = keras_arrays(rng)
    damage(arrays)
    source = write_keras(tmp_path / "keras.h5", arrays)
    with pytest.raises(InputError, match=says):
        convert(source, tmp_path / "out.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["keras.h5"]


def test_every_truncation_is_refused(rng, tmp_path):
    source = write_keras(tmp_path / "keras.h5", keras_arrays(rng))
    data = source.read_bytes()
    for length in np.linspace(0, len(data) - 1, 25).astype(int):
        source.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"keras\.h5"):
            convert(source, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_other_files_and_bad_destinations_are_named(rng, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"a\.png: is no HDF5 file"):
        convert(tmp_path / "a.png", tmp_path / "out.npz")
    with pytest.raises(InputError, match=r"no\.h5: there is no such file"):
        convert(tmp_path / "no.h5", tmp_path / "out.npz")
    source = write_keras(tmp_path / "keras.h5", keras_arrays(rng))
    with pytest.raises(InputError, match=r"out\.h5"):
        convert(source, tmp_path / "out.h5")


def test_the_real_vgg19_converts_with_its_shapes_and_values(shared, vgg19):
    weights = load_weights(vgg19)
    assert weights.tensors["conv1_1.weight"].shape == (64, 3, 3, 3)
    assert weights.tensors["conv5_4.weight"].shape == (512, 512, 3, 3)
    assert sum(tensor.size for tensor in weights.tensors.values()) == 20_024_384
    with h5py.File(shared / "weights" / "vgg19_keras_notop.h5") as file:
        kernel = file["block3_conv2/block3_conv2_W_1:0"][()]
    assert np.array_equal(weights.tensors["conv3_2.weight"], kernel.transpose(3, 2, 0, 1))
