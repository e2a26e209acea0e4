import h5py
import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.keras import read_keras, read_keras_archive
from tests.networks import foreign as f


@pytest.mark.parametrize(("style", "top"), [("old", False), ("new", False), ("old", True)])
def test_all_layouts_are_read_and_kernels_transposed_to_out_in(rng, tmp_path, style, top):
    values = f.draw_values(rng)
    found = read_keras(f.write_keras(tmp_path / "keras.h5", values, style, top))
    assert set(found.kernels) == set(values)
    for name, (kernel, bias) in values.items():
        assert np.array_equal(found.kernels[name], kernel)
        assert np.array_equal(found.biases[name], bias)


def dataset(path, name="block1_conv1/kernel:0", **options):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (3, 3, 3, 64), "dtype": "i4", "data": np.ones((3, 3, 3, 64))},
        {"shape": (3, 3, 30_000, 30_000), "dtype": "f4"},  # 32 GB declared, none of it written
        {"shape": (3, 3, 3000, 3000), "dtype": "f4", "fillvalue": 1.0, "chunks": True},
        {"data": np.zeros((3, 3, 512, 1024), "f4"), "compression": "gzip", "chunks": True},
        {"data": np.array(["text"], dtype=object), "dtype": h5py.string_dtype()},
    ],
)
def test_arrays_that_cannot_be_weights_are_refused_unread(tmp_path, options):
    source = dataset(tmp_path / "a.h5", **options)
    with pytest.raises(
        InputError, match=r"a\.h5: block1_conv1/kernel:0 declares .* cannot be weights"
    ):
        read_keras(source)


def test_references_to_other_files_are_refused(tmp_path):
    (tmp_path / "secret.dat").write_bytes(bytes(range(256)) * 27)
    external = [(tmp_path / "secret.dat", 0, 6912)]
    source = dataset(tmp_path / "a.h5", shape=(3, 3, 3, 64), dtype="f4", external=external)
    with pytest.raises(InputError, match="refers to another file"):
        read_keras(source)
    dataset(tmp_path / "other.h5", "x", data=np.ones((3, 3, 3, 64), "f4"))
    layout = h5py.VirtualLayout((3, 3, 3, 64), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (3, 3, 3, 64))
    with h5py.File(source, "w") as file:
        file.create_virtual_dataset("block1_conv1/kernel:0", layout)
    with pytest.raises(InputError, match="refers to another file"):
        read_keras(source)


def test_links_to_other_files_are_not_followed(rng, tmp_path):
    other = f.write_keras(tmp_path / "other.h5", f.draw_values(rng))
    source = tmp_path / "a.h5"
    with h5py.File(other) as inside:
        names = list(inside)
    with h5py.File(source, "w") as file:
        for name in names:
            file[name] = h5py.ExternalLink(other, name)
        assert list(file["block1_conv1"])  # the link is valid
    with pytest.raises(InputError, match="is an HDF5 file without a VGG of Keras"):
        read_keras(source)


def test_a_layer_without_bias_is_refused_by_name(rng, tmp_path):
    source = dataset(tmp_path / "a.h5", data=np.ones((3, 3, 3, 64), "f4"))
    with pytest.raises(
        InputError, match=r"block1_conv1 contains arrays of shapes \[\(3, 3, 3, 64\)\]"
    ):
        read_keras(source)


def same(found, values):
    return set(found.kernels) == set(values) and all(
        np.array_equal(found.kernels[name], kernel) and np.array_equal(found.biases[name], bias)
        for name, (kernel, bias) in values.items()
    )


@pytest.mark.parametrize("letter", "DE")
@pytest.mark.parametrize("place", ["layers/", "layers/functional/layers/"])
def test_keras_3_counts_layers_by_class(rng, tmp_path, letter, place):
    values = f.draw_values(rng, letter)
    options = {"place": place, "optimizer": True}
    assert same(read_keras(f.write_keras3(tmp_path / "a.weights.h5", values, **options)), values)
    archive = f.write_keras_archive(tmp_path / "a.keras", values, **options)
    assert same(read_keras_archive(archive), values)


def test_a_convolution_beside_the_vgg_of_keras_3_is_left_out(rng, tmp_path):
    values = f.draw_values(rng)
    source = f.write_keras3(tmp_path / "a.h5", values, place="layers/functional/layers/")
    with h5py.File(source, "a") as file:
        file["layers/conv2d/vars/0"] = np.zeros((1, 1, 10, 3), np.float32)
    assert same(read_keras(source), values)


@pytest.mark.parametrize("place", ["", "vgg19/"])
def test_a_whole_model_is_read_without_the_state_of_its_optimizer(rng, tmp_path, place):
    values = f.draw_values(rng)
    weights = f.write_keras(tmp_path / "weights.h5", values, "new", top=True)
    source = tmp_path / "model.h5"
    with h5py.File(weights) as inner, h5py.File(source, "w") as file:
        for name in inner:
            inner.copy(name, file.require_group(f"model_weights/{place}"))
            inner.copy(name, file.require_group("optimizer_weights/Adam/m"))
    assert same(read_keras(source), values)


def test_several_vggs_of_keras_are_listed(rng, tmp_path):
    source = f.write_keras3(tmp_path / "a.h5", f.draw_values(rng), place="layers/one/layers/")
    with h5py.File(source, "a") as file:
        file.copy("layers/one", "layers/two")
    with pytest.raises(InputError, match=r"2 networks .*under layers/one/layers/, layers/two"):
        read_keras(source)


def test_another_number_of_convolutions_is_refused(rng, tmp_path):
    values = f.draw_values(rng)
    del values["conv5_4"]
    source = f.write_keras3(tmp_path / "a.h5", values)
    with pytest.raises(InputError, match=r"15 layers of class Conv2D .* has 8, 10, 13, 16; save"):
        read_keras(source)


def test_the_names_of_layers_that_a_damaged_file_could_inflate_are_not_read(
    rng, tmp_path, monkeypatch
):
    source = f.write_keras3(tmp_path / "a.h5", f.draw_values(rng))

    def read_attribute(*_):
        pytest.fail("an attribute is read")

    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", read_attribute)
    monkeypatch.setattr(h5py.AttributeManager, "get", read_attribute)
    read_keras(source)


def test_an_hdf5_file_without_a_vgg_is_refused(tmp_path):
    source = dataset(tmp_path / "a.h5", "layers/dense/vars/0", data=np.ones((3, 3), "f4"))
    with pytest.raises(InputError, match="is an HDF5 file without a VGG of Keras"):
        read_keras(source)
