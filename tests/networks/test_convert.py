import io
import zipfile

import h5py
import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.maths.conv import conv2d
from npstyle.maths.pooling import avg_pool2d
from npstyle.networks.activations import activations
from npstyle.networks.convert import NAMES, convert
from npstyle.networks.formats.found import CAFFE, TORCHVISION
from npstyle.networks.network import configure, network_from_weights
from npstyle.networks.verify import draw_picture
from npstyle.networks.weights import load_weights
from tests.networks import foreign as f

WRITERS = {
    "keras": lambda path, values: f.write_keras(path, values),
    "keras with top": lambda path, values: f.write_keras(path, values, "new", top=True),
    "keras 3": lambda path, values: f.write_keras3(path, values),
    "keras archive": lambda path, values: f.write_keras_archive(path, values),
    "numpy archive": lambda path, values: f.write_numpy_archive(path, f.for_input(values, "RGB")),
    "pth zip": lambda path, values: f.write_torch_zip(path, f.caffe_names(values)),
    "pth legacy": lambda path, values: f.write_torch_legacy(path, f.caffe_names(values)),
    "johnson": lambda path, values: f.write_torch_legacy(path, f.torch_names(values, (1, 4, 6))),
    "matconvnet": lambda path, values: f.write_matconvnet(path, values),
    "matconvnet old": lambda path, values: f.write_matconvnet(path, values, old=True),
    "caffe old": lambda path, values: f.write_caffe(path, values),
    "caffe": lambda path, values: f.write_caffe(path, values, old=False),
    "safetensors": lambda path, values: f.write_safetensors(path, f.caffe_names(values)),
}
UNDECIDED = ("pth zip", "pth legacy", "safetensors")
"""Layouts of WRITERS that do not say what input the network expects; nor do random numbers."""

TORCHVISION_WRITERS = {
    "pth zip": lambda path, values: f.write_torch_zip(path, f.torch_names(values, (0, 3, 6))),
    "pth legacy": lambda path, values: f.write_torch_legacy(path, f.torch_names(values)),
    "safetensors": lambda path, values: f.write_safetensors(path, f.torch_names(values)),
}
ALL = WRITERS | {f"torchvision {name}": write for name, write in TORCHVISION_WRITERS.items()}


def activations_of(file):
    """Activations of the picture in the converted network, by convolution."""
    network = configure(network_from_weights(load_weights(file)), "avg", np.float64)
    names = [name for name in network.activations().values() if name.startswith("conv")]
    return dict(activations(network, draw_picture(), names))


def activations_by_hand(values, image):
    """The same activations, computed from the values and the preprocessed picture."""
    found, block = {}, "1"
    for layer, (kernel, bias) in values.items():
        if layer[4] != block:
            block, image = layer[4], avg_pool2d(image, 2, 2)
        kernel = kernel.astype(np.float64).transpose(2, 3, 1, 0)
        image = np.maximum(conv2d(image, kernel, bias, padding=1), 0)
        found[layer] = image
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, activation in expected.items():
        assert np.allclose(found[name], activation, rtol=1e-9, atol=1e-9 * activation.max()), name


@pytest.mark.parametrize("letter", NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_gives_the_activations_of_the_original_network(rng, tmp_path, writer, letter):
    values = f.draw_values(rng, letter)
    source = WRITERS[writer](tmp_path / "source.dat", values)
    asked = "bgr" if writer in UNDECIDED else None
    assert convert(source, tmp_path / "out.npz", asked).name == NAMES[letter]
    image = draw_picture()[:, :, ::-1] - np.array(CAFFE.mean)
    assert_same(activations_of(tmp_path / "out.npz"), activations_by_hand(values, image))


@pytest.mark.parametrize("writer", TORCHVISION_WRITERS)
def test_torchvisions_names_imply_torchvisions_preprocessing(rng, tmp_path, writer):
    values = f.draw_values(rng)
    source = TORCHVISION_WRITERS[writer](tmp_path / "source.dat", values)
    convert(source, tmp_path / "out.npz")
    image = (draw_picture() / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    assert_same(activations_of(tmp_path / "out.npz"), activations_by_hand(values, image))


def test_converting_twice_gives_identical_files(rng, tmp_path):
    source = f.write_keras(tmp_path / "weights.dat", f.draw_values(rng))
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    convert(source, first)
    convert(source, second)
    assert first.read_bytes() == second.read_bytes()


def without_layer(values):
    del values["conv5_4"]


def transposed(values):
    values["conv2_1"] = values["conv2_1"][0].transpose(2, 3, 1, 0), values["conv2_1"][1]


def with_nan(values):
    values["conv3_2"][0][0, 0, 0, 0] = np.nan


def wrong_bias(values):
    values["conv1_1"] = values["conv1_1"][0], np.zeros(99, np.float32)


def not_chained(values):
    values["conv2_1"] = values["conv2_1"][0][:, :1], values["conv2_1"][1]


DAMAGE = {
    without_layer: "incomplete|has 8, 10, 13, 16",
    transposed: "conv2_1",
    with_nan: "conv3_2 contains NaN",
    wrong_bias: "conv1_1",
    not_chained: "conv2_1",
}


@pytest.mark.parametrize("writer", ALL)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_values_are_refused_and_nothing_is_written(rng, tmp_path, writer, damage):
    values = f.draw_values(rng)
    damage(values)
    source = ALL[writer](tmp_path / "source.dat", values)
    with pytest.raises(InputError, match=rf"source\.dat: .*({DAMAGE[damage]})"):
        convert(source, tmp_path / "out.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["source.dat"]


@pytest.mark.parametrize("writer", ALL)
def test_every_truncation_is_refused(rng, tmp_path, writer):
    source = ALL[writer](tmp_path / "source.dat", f.draw_values(rng))
    data = source.read_bytes()
    for length in np.linspace(0, len(data) - 1, 25).astype(int):
        source.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"source\.dat"):
            convert(source, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_unsupported_sources_and_invalid_destinations_are_refused(rng, tmp_path):
    (tmp_path / "a.dat").write_bytes(b"\x89ABC" + bytes(100))
    with pytest.raises(InputError, match=r"a\.dat: is not a weights file that can be read"):
        convert(tmp_path / "a.dat", tmp_path / "out.npz")
    (tmp_path / "b.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(100))
    with pytest.raises(InputError, match=r"b\.mat: .* -v7$"):
        convert(tmp_path / "b.mat", tmp_path / "out.npz")
    with pytest.raises(InputError, match=r"no\.h5: no such file"):
        convert(tmp_path / "no.h5", tmp_path / "out.npz")
    source = f.write_keras(tmp_path / "keras.h5", f.draw_values(rng))
    with pytest.raises(InputError, match=r"out\.h5"):
        convert(source, tmp_path / "out.h5")


def archive_of(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return stream.getvalue()


NO_WEIGHTS = {
    b"": "is empty; download it again",
    b"\n <!DOCTYPE html><html><head>": "is a web page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>': "is a web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a": "Git LFS pointer",
    b"404: Not Found": "is a text that begins '404: Not Found'",
    b"\x1f\x8b\x08" + bytes(100): "gzip; unpack it",
    bytes(257) + b"ustar" + bytes(300): "is a tar archive; unpack it",
    b"BZh91AY" + bytes(100): "bzip2; unpack it",
    b"\xfd7zXZ\0" + bytes(100): "xz; unpack it",
    b"7z\xbc\xaf\x27\x1c" + bytes(100): "7z archive; unpack it",
    b"Rar!\x1a\x07" + bytes(100): "RAR archive; unpack it",
    b"\x89PNG" + bytes(100): r"is a picture \(PNG\), .*; give the weights file",
    b"\xff\xd8\xff\xe0" + bytes(100): r"is a picture \(JPEG\)",
    b"GIF89a" + bytes(100): r"is a picture \(GIF\)",
    b"II*\0" + bytes(100): r"is a picture \(TIFF\)",
    b"MM\0*" + bytes(100): r"is a picture \(TIFF\)",
    b"RIFF\n\0\0\0WEBP" + bytes(100): r"is a picture \(WebP\)",
    archive_of("a/b.txt", "vgg19.pth"): r"is a zip archive of a/b\.txt, vgg19\.pth, .*unpack",
    archive_of(): "is a zip archive of nothing",
    archive_of("x.npy"): r"is a zip archive of x\.npy",
    archive_of("meta.npy"): "needs no conversion; use it with --network",
}


# Not the bytes: a zip archive holds the time of its making.
@pytest.mark.parametrize("content", NO_WEIGHTS, ids=NO_WEIGHTS.values())
def test_the_refusal_of_a_file_that_is_no_network_says_what_it_is(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.pth: .*{NO_WEIGHTS[content]}"):
        convert(tmp_path / "a.pth", tmp_path / "out.npz")


def test_the_real_vgg19_converts_with_its_shapes_and_values(shared, vgg19):
    weights = load_weights(vgg19)
    assert weights.tensors["conv1_1.weight"].shape == (64, 3, 3, 3)
    assert weights.tensors["conv5_4.weight"].shape == (512, 512, 3, 3)
    assert sum(tensor.size for tensor in weights.tensors.values()) == 20_024_384
    with h5py.File(shared / "weights" / "vgg19_keras_notop.h5") as file:
        kernel = file["block3_conv2/block3_conv2_W_1:0"][()]
    assert np.array_equal(weights.tensors["conv3_2.weight"], kernel.transpose(3, 2, 0, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "writer",
    ["torchvision pth zip", "torchvision pth legacy", "safetensors", "matconvnet", "caffe old"],
)
def test_every_format_preserves_the_real_values(vgg19, tmp_path, writer):
    real = load_weights(vgg19)
    values = {
        name.removesuffix(".weight"): (tensor, real.tensors[name.replace("weight", "bias")])
        for name, tensor in real.tensors.items()
        if name.endswith(".weight")
    }
    source = ALL[writer](tmp_path / "source.dat", values)
    weights = convert(source, tmp_path / "out.npz")
    for name, tensor in real.tensors.items():
        reversed_colors = writer.startswith("matconvnet") and name == "conv1_1.weight"
        assert np.array_equal(weights.tensors[name], tensor[:, ::-1] if reversed_colors else tensor)
    # Its biases identify Caffe's VGG-19 under torchvision's names, too.
    assert (weights.channel_order, weights.mean) == (
        ("RGB", f.MEAN_RGB) if writer.startswith("matconvnet") else ("BGR", CAFFE.mean)
    )
    assert weights.scale == (1, 1, 1) != TORCHVISION.scale
