import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks import archive as archives
from npstyle.networks import weights as module
from npstyle.networks.architecture import ConvSpec, PoolSpec, ReluSpec, vgg_architecture
from npstyle.networks.network import load_network
from npstyle.networks.weights import (
    Weights,
    default_weights,
    find_weights,
    load_weights,
    save_weights,
)


@pytest.fixture
def small(rng):
    return Weights(
        name="small",
        layers=(
            ConvSpec("conv1_1", 1, 1),
            ReluSpec("relu1_1"),
            PoolSpec("pool1", 2, 2),
            ConvSpec("conv2_1", 2, 0),
            ReluSpec("relu2_1"),
        ),
        tensors={
            "conv1_1.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
            "conv1_1.bias": rng.standard_normal(4).astype(np.float32),
            "conv2_1.weight": rng.standard_normal((5, 4, 1, 1)).astype(np.float16),
            "conv2_1.bias": rng.standard_normal(5),
        },
        channel_order="RGB",
        mean=(1.0, 2.0, 3.0),
        scale=(0.5, 0.5, 0.5),
        source="a test",
        license="MIT",
        source_sha256="",
        normalized=True,
    )


@pytest.fixture
def saved(small, tmp_path):
    path = tmp_path / "small.npz"
    save_weights(path, small)
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewrite(path, changes):
    """Write the archive again with some members replaced, removed (None) or added."""
    contents = members(path) | changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array))
    return buffer.getvalue()


def meta_with(path, **changes):
    meta = json.loads(str(np.load(path)["meta"]))
    meta.update(changes)
    return {"meta.npy": npy(np.array(json.dumps(meta)))}


def test_loading_returns_what_was_saved(small, saved):
    loaded = load_weights(saved)
    assert loaded == replace(small, tensors=loaded.tensors, sha256=loaded.sha256)
    assert len(loaded.sha256) == 64
    assert list(loaded.tensors) == list(small.tensors)
    for name, tensor in small.tensors.items():
        assert np.array_equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype


def test_numpy_reads_the_file_without_pickle(small, saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert set(archive.files) == {"meta", *small.tensors}


def test_saving_the_same_weights_twice_gives_identical_files(small, tmp_path):
    for name in ("a.npz", "b.npz"):
        save_weights(tmp_path / name, small)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_network_has_kernels_with_channels_last(small, saved):
    network = load_network(saved)
    assert [layer.name for layer in network.layers] == [layer.name for layer in small.layers]
    expected = small.tensors["conv1_1.weight"].transpose(2, 3, 1, 0)
    assert np.array_equal(network.layers[0].kernel, expected)


def test_vgg19_has_its_16_convolutions_and_5_pools():
    layers = vgg_architecture((2, 2, 4, 4, 4))
    assert sum(isinstance(layer, ConvSpec) for layer in layers) == 16
    assert [layer.name for layer in layers if isinstance(layer, PoolSpec)][-1] == "pool5"
    assert layers[-3].name == "conv5_4"


def conv(name="conv1_1", **changes):
    return {"kind": "conv", "name": name, "stride": 1, "padding": 1, **changes}


DAMAGES = {
    "missing weight": (lambda p: {"conv2_1.weight.npy": None}, r"conv2_1\.weight.*missing"),
    "missing bias": (lambda p: {"conv1_1.bias.npy": None}, r"conv1_1\.bias.*missing"),
    "missing meta": (lambda p: {"meta.npy": None}, "no `meta`"),
    "extra array": (lambda p: {"conv9_1.bias.npy": npy(np.zeros(3))}, "conv9_1.bias belongs"),
    "wrong rank": (lambda p: {"conv2_1.weight.npy": npy(np.zeros((5, 4)))}, r"conv2_1\.weight"),
    "wrong channels": (
        lambda p: {"conv2_1.weight.npy": npy(np.zeros((5, 3, 1, 1)))},
        r"conv2_1\.weight.*\(out, 4",
    ),
    "no filters": (lambda p: {"conv2_1.weight.npy": npy(np.zeros((0, 4, 1, 1)))}, "shape"),
    "wrong bias": (lambda p: {"conv1_1.bias.npy": npy(np.zeros(5))}, r"conv1_1\.bias.*\(4,\)"),
    "integers": (lambda p: {"conv1_1.bias.npy": npy(np.zeros(4, int))}, "float16, 32 or 64"),
    "NaN": (lambda p: {"conv1_1.bias.npy": npy(np.full(4, np.nan))}, r"conv1_1\.bias contains NaN"),
    "infinity": (lambda p: {"conv1_1.bias.npy": npy(np.full(4, np.inf))}, "NaN or infinity"),
    "pickle": (
        lambda p: {"conv1_1.bias.npy": npy(np.array([print], object))},
        r"conv1_1\.bias contains pickled",
    ),
    "pickled meta": (
        lambda p: {"meta.npy": npy(np.array({"a": 1}, object))},
        "meta contains pickled",
    ),
    "meta is not a string": (lambda p: {"meta.npy": npy(np.zeros(3))}, "one short JSON text"),
    "meta is not JSON": (lambda p: {"meta.npy": npy(np.array("{"))}, "not valid JSON"),
    "meta is a list": (lambda p: {"meta.npy": npy(np.array("[1]"))}, "format"),
    "other format": (lambda p: meta_with(p, format=2), "format 2"),
    "name": (lambda p: meta_with(p, name=3), "string for name"),
    "order": (lambda p: meta_with(p, channel_order="GRB"), "channel_order"),
    "mean": (lambda p: meta_with(p, mean=[1, 2]), "numbers for mean"),
    "scale": (lambda p: meta_with(p, scale=[1, 2, "x"]), "numbers for scale"),
    "normalized": (lambda p: meta_with(p, normalized="yes"), "normalized"),
    "no layers": (lambda p: meta_with(p, architecture=[]), "architecture"),
    "unknown layer": (lambda p: meta_with(p, architecture=[{"kind": "lrn", "name": "x"}]), "lrn"),
    "twice": (lambda p: meta_with(p, architecture=[conv(), conv()]), "two layers named conv1_1"),
    "stride": (lambda p: meta_with(p, architecture=[conv(stride=0)]), "stride 0"),
    "padding": (lambda p: meta_with(p, architecture=[conv(padding=True)]), "padding True"),
    "foreign member": (lambda p: {"readme.txt": b"hello"}, r"readme\.txt"),
    "no npy": (lambda p: {"conv1_1.bias.npy": b"hello"}, r"conv1_1\.bias is damaged"),
    "cut npy": (
        lambda p: {"conv1_1.bias.npy": members(p)["conv1_1.bias.npy"][:-4]},
        r"conv1_1\.bias declares",
    ),
    "huge npy": (
        lambda p: {
            "conv1_1.bias.npy": members(p)["conv1_1.bias.npy"].replace(b"(4,), ", b"(9999999999,),")
        },
        r"conv1_1\.bias",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_refusal_of_a_damaged_file_names_the_file_and_the_cause(saved, damage):
    change, says = DAMAGES[damage]
    rewrite(saved, change(saved))
    with pytest.raises(InputError, match=says) as error:
        load_weights(saved)
    assert str(saved) in str(error.value)


def test_every_truncation_is_refused(saved):
    data = saved.read_bytes()
    for length in np.linspace(0, len(data) - 1, 60).astype(int):
        saved.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"small\.npz"):
            load_weights(saved)


def test_every_flipped_byte_is_refused_or_harmless(saved, rng):
    data = bytearray(saved.read_bytes())
    refused = 0
    for at in rng.choice(len(data), 300, replace=False):
        kept = data[at]
        data[at] ^= 0xFF
        saved.write_bytes(bytes(data))
        try:
            load_weights(saved)
        except InputError:
            refused += 1
        data[at] = kept
    assert refused > 200


def test_a_zip_bomb_is_refused_before_it_is_decompressed(saved, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 20)
    bomb = npy(np.zeros((1 << 18, 4, 1, 1)))
    contents = members(saved) | {"conv2_1.weight.npy": bomb}
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    assert saved.stat().st_size < 1 << 18
    with pytest.raises(InputError, match="declares"):
        load_weights(saved)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; download it again"),
        (b"\x89HDF\r\n\x1a\n", "npstyle weights convert"),
        (b"\x89PNG", "is a picture"),
        (npy(np.zeros(3)), "is a single array of NumPy"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS pointer"),
    ],
)
def test_another_kind_of_file_is_refused_with_a_hint(tmp_path, content, says):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"other\.npz: .*{says}"):
        load_weights(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "no.npz")
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path)


def test_saving_refuses_what_loading_would_refuse(small, tmp_path):
    bad = replace(small, tensors={**small.tensors, "conv1_1.bias": np.full(4, np.nan)})
    with pytest.raises(InputError, match="NaN"):
        save_weights(tmp_path / "a.npz", bad)
    with pytest.raises(InputError, match="channel_order"):
        save_weights(tmp_path / "a.npz", replace(small, channel_order="XYZ"))
    with pytest.raises(InputError, match=r"\.npz"):
        save_weights(tmp_path / "a.npy", small)
    assert not list(tmp_path.iterdir())


def test_names_are_found_in_the_current_and_in_the_users_folder(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "user_data_dir", lambda: tmp_path / "data")
    for folder, name in (("weights", "here"), ("data", "there")):
        (tmp_path / folder).mkdir()
        save_weights(tmp_path / folder / f"{name}.npz", small)
    for name in ("here", "here.npz", "there", "there.npz", "weights/here.npz"):
        assert load_weights(find_weights(name)).name == "small"
    with pytest.raises(InputError, match=r"nowhere.*weights convert"):
        find_weights("nowhere")
    with pytest.raises(InputError, match=r"network weights: is a folder"):
        find_weights("weights")
    with pytest.raises(InputError, match=r"network \.\.: is a folder"):
        find_weights("..")


def test_the_default_is_vgg19_if_installed_else_the_builtin_network(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / "weights"]
    builtin = find_weights("builtin")
    monkeypatch.setattr(module, "_folders", lambda: [*folders, builtin.parent])
    (tmp_path / "weights").mkdir()
    if not (builtin.parent / "vgg19.npz").exists():
        assert default_weights() == builtin
    save_weights(tmp_path / "weights" / "vgg19.npz", small)
    assert default_weights() == tmp_path / "weights" / "vgg19.npz"


def test_the_builtin_network_is_vgg19_at_a_quarter_of_the_width_under_2_and_a_half_mb():
    path = find_weights("builtin")
    weights = load_weights(path)
    assert path.stat().st_size < 2_500_000
    assert "CC BY 4.0" in weights.license
    assert "vgg19" in weights.source
    assert weights.layers == vgg_architecture((2, 2, 4, 4, 4))
    widths = [weights.tensors[f"conv{block}_1.bias"].size for block in range(1, 6)]
    assert widths == [16, 32, 64, 128, 128]


def raw_npy(header, version=1):
    text = header.encode("latin1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


@pytest.mark.parametrize(
    "member",
    [
        raw_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,"),
        raw_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}\n"),
        raw_npy("{'descr': [], 'fortran_order': False, 'shape': (4,)}\n"),
        raw_npy("((((" * 3000),
        raw_npy(" " * 70_000, version=2),
    ],
)
def test_an_invalid_npy_header_is_refused(saved, member):
    rewrite(saved, {"conv1_1.bias.npy": member})
    with pytest.raises(InputError, match=r"conv1_1\.bias"):
        load_weights(saved)


@pytest.mark.parametrize(
    "changes",
    [{"mean": [10**400, 0, 0]}, {"architecture": [{"kind": [], "name": "x"}]}, {"name": ["x"]}],
)
def test_invalid_meta_is_refused(saved, changes):
    rewrite(saved, meta_with(saved, **changes))
    with pytest.raises(InputError, match=r"small\.npz"):
        load_weights(saved)


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b"])
def test_an_invalid_file_name_is_refused(name):
    with pytest.raises(InputError, match="no such file"):
        find_weights(name)
