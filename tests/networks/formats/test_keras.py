import h5py
import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.keras import read_keras
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


def test_a_layer_without_bias_is_refused_by_name(rng, tmp_path):
    source = dataset(tmp_path / "a.h5", data=np.ones((3, 3, 3, 64), "f4"))
    with pytest.raises(
        InputError, match=r"block1_conv1 contains arrays of shapes \[\(3, 3, 3, 64\)\]"
    ):
        read_keras(source)
