import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.found import TORCHVISION
from npstyle.networks.formats.pytorch import read_pytorch_legacy, read_pytorch_zip
from npstyle.networks.formats.state_dict import find_convolutions
from tests.networks import foreign as f


class Command:
    def __reduce__(self):
        return os.system, ("touch MARK",)


READ = {"zip": read_pytorch_zip, "legacy": read_pytorch_legacy}
WRITE = {"zip": f.write_torch_zip, "legacy": f.write_torch_legacy}


@pytest.fixture
def tensors(rng):
    return f.torch_names(f.draw_values(rng))


@pytest.mark.parametrize("layout", READ)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, monkeypatch, layout, tensors):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({"features.0.weight": Command()}, 2)
    source = WRITE[layout](tmp_path / "evil.pth", tensors, pickled)
    with pytest.raises(InputError, match=r"evil\.pth: .*(posix|nt)\.system.*nothing .* been run"):
        READ[layout](source, find_convolutions)
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


@pytest.mark.parametrize("place", range(5))
def test_a_hostile_pickle_is_refused_in_every_position_of_a_legacy_file(
    tmp_path, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    parts = [f.MAGIC, 1001, {"little_endian": True}, OrderedDict(), []]
    parts[place] = Command()
    source = tmp_path / "evil.pth"
    source.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(InputError, match=r"\.system"):
        read_pytorch_legacy(source, find_convolutions)
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


@pytest.mark.parametrize("layout", READ)
@pytest.mark.parametrize("keys", [["state_dict"], ["model"], ["run", "net"]])
@pytest.mark.parametrize("prefix", ["", "module.", "vgg.", "module.vgg."])
def test_a_dictionary_under_any_keys_with_any_prefix_is_found(
    tmp_path, layout, keys, prefix, tensors
):
    tensors = f.with_prefix(tensors, prefix)
    pickled = f.nested_pickle(tensors, keys, legacy=layout == "legacy")
    source = WRITE[layout](tmp_path / "a.pth", tensors, pickled)
    found = READ[layout](source, find_convolutions)
    assert np.array_equal(found.kernels["conv5_4"], tensors[f"{prefix}features.34.weight"])
    assert found.preprocessing == TORCHVISION


def test_containers_that_contain_themselves_or_each_other_many_times_are_read_once(tmp_path):
    pickled = b"\x80\x02}q\x00"  # a dictionary with itself, then 60 lists, each twice in the next
    pickled += f.text("self") + b"h\x00s" + f.text("lists") + b"]"
    for k in range(60):
        pickled += b"r" + struct.pack("<I", k + 1) + b"0](" + 2 * (b"j" + struct.pack("<I", k + 1))
        pickled += b"e"
    source = f.write_torch_zip(tmp_path / "a.pth", {}, pickled + b"s.")
    with pytest.raises(InputError, match="has no tensors of a VGG"):
        read_pytorch_zip(source, find_convolutions)


def test_storages_of_unsupported_types_or_wrong_sizes_are_refused(tmp_path, tensors):
    for kind, says in [
        ("ComplexFloatStorage", "ComplexFloat.*float32"),
        ("DoubleStorage", "bytes that the pickle declares"),
    ]:
        source = tmp_path / "a.pth"
        f.write_torch_zip(source, tensors, f.pickle_of_tensors(tensors, kind))
        with pytest.raises(InputError, match=says):
            read_pytorch_zip(source, find_convolutions)
        f.write_torch_legacy(source, tensors, f.pickle_of_tensors(tensors, kind, legacy=True))
        with pytest.raises(InputError, match=r"ComplexFloat|truncated"):
            read_pytorch_legacy(source, find_convolutions)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((1 << 20, 1 << 20, 3, 3), (0, 0, 0, 0)),  # 40 TB from 1728 numbers
        ((64, 3, 3, 3), (28, 9, 3, 1)),
        ((0, 3, 3, 3), (27, 9, 3, 1)),
    ],
)
@pytest.mark.parametrize("layout", READ)
def test_a_tensor_larger_than_its_storage_is_refused_before_memory_is_allocated(
    tmp_path, layout, shape, strides
):
    array = np.zeros((64, 3, 3, 3), np.float32)
    pickled = f.pickle_of_tensors(
        {"features.0.weight": array, "features.0.bias": array[:, 0, 0, 0]}
    )

    def sizes(numbers):
        return b"(" + b"".join(map(f.number, numbers)) + b"t"

    true = sizes(array.shape) + sizes((27, 9, 3, 1))
    assert pickled.count(true) == 1
    pickled = pickled.replace(true, sizes(shape) + sizes(strides))
    tensors = {"features.0.weight": array, "features.0.bias": array[:, 0, 0, 0]}
    source = WRITE[layout](tmp_path / "a.pth", tensors, pickled)
    tracemalloc.start()
    with pytest.raises(InputError, match="extends beyond its storage"):
        READ[layout](source, find_convolutions)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def read_all(_, tensors, read):
    return [read(tensor) for tensor in tensors.values()]


@pytest.mark.parametrize("layout", READ)
def test_tensors_that_share_their_numbers_are_refused(tmp_path, layout):
    array = np.zeros((4, 4), np.float32)
    tensors = {"one": array, "other": array}
    pickled = f.pickle_of_tensors(tensors, legacy=layout == "legacy")
    key = f.text("1") + f.text("cpu")
    assert pickled.count(key) == 1
    shared = pickled.replace(key, f.text("0") + f.text("cpu"))
    source = WRITE[layout](tmp_path / "a.pth", {"one": array}, shared)
    with pytest.raises(InputError, match="share their numbers"):
        READ[layout](source, read_all)
    READ[layout](WRITE[layout](tmp_path / "b.pth", tensors, pickled), read_all)


@pytest.mark.parametrize("layout", READ)
@pytest.mark.parametrize("kind", ["Half", "Float", "Double", "BFloat16"])
def test_all_float_types_are_read_and_bfloat16_is_widened_exactly(tmp_path, layout, kind, tensors):
    stored, expected = {}, {}
    for name, array in tensors.items():
        if kind == "BFloat16":
            stored[name], expected[name] = f.bfloat16(array)
        else:
            dtype = {"Half": np.float16, "Float": np.float32, "Double": np.float64}[kind]
            stored[name] = expected[name] = array.astype(dtype)
    pickled = f.pickle_of_tensors(stored, f"{kind}Storage", legacy=layout == "legacy")
    source = WRITE[layout](tmp_path / "a.pth", stored, pickled)
    kernel = READ[layout](source, find_convolutions).kernels["conv3_4"]
    assert kernel.dtype == expected["features.16.weight"].dtype
    assert np.array_equal(kernel, expected["features.16.weight"])


def test_a_compressed_archive_is_refused_unread(tmp_path, tensors):
    tensors["features.0.weight"] = np.zeros(25_000_000, np.float32)
    source = f.write_torch_zip(tmp_path / "bomb.pth", tensors, compression=zipfile.ZIP_DEFLATED)
    assert source.stat().st_size < 200_000
    with pytest.raises(InputError, match=r"the member vgg/\S+ is compressed"):
        read_pytorch_zip(source, find_convolutions)


def test_the_refusal_of_other_archives_and_pickles_names_the_supported_file(tmp_path, tensors):
    source = tmp_path / "a.dat"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InputError, match=r"data\.pkl.*torch\.save"):
        read_pytorch_zip(source, find_convolutions)
    source.write_bytes(pickle.dumps({"a": 1}, 2))
    with pytest.raises(InputError, match=r"torch\.save did not write"):
        read_pytorch_legacy(source, find_convolutions)
    f.write_torch_zip(source, {}, pickle.dumps([1, 2], 2))
    with pytest.raises(InputError, match=r"list.*state_dict"):
        read_pytorch_zip(source, find_convolutions)
    f.write_torch_zip(source, tensors, byteorder=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_pytorch_zip(source, find_convolutions)
    f.write_torch_legacy(source, tensors)
    little = b"\x88s"
    source.write_bytes(source.read_bytes().replace(little, b"\x89s", 1))
    with pytest.raises(InputError, match="big-endian"):
        read_pytorch_legacy(source, find_convolutions)


def test_a_legacy_file_whose_keys_are_wrong_is_refused(tmp_path, tensors):
    source = f.write_torch_legacy(tmp_path / "a.pth", tensors)
    data = source.read_bytes()
    last = f.text(str(len(tensors) - 1)) + b"e."
    assert data.count(last) == 1
    for other, says in [(b"e.", "missing"), (f.text("0") + b"e.", "belongs to no tensor")]:
        source.write_bytes(data.replace(last, other))
        with pytest.raises(InputError, match=says):
            read_pytorch_legacy(source, find_convolutions)
    count = struct.pack("<q", tensors["features.0.weight"].size)
    source.write_bytes(data.replace(count, struct.pack("<q", -1), 1))
    with pytest.raises(InputError, match="does not contain"):
        read_pytorch_legacy(source, find_convolutions)


@pytest.mark.peers
@pytest.mark.parametrize("layout", READ)
@pytest.mark.parametrize(
    "like", ["state dictionary", "parameters", "half", "bfloat16", "views", "double"]
)
def test_files_saved_by_pytorch_are_read(tmp_path, tensors, layout, like):
    torch = pytest.importorskip("torch")
    made = OrderedDict((name, torch.from_numpy(array)) for name, array in tensors.items())
    if like == "parameters":
        made = {name: torch.nn.Parameter(tensor) for name, tensor in made.items()}
    elif like == "half":
        made = {name: tensor.half() for name, tensor in made.items()}
    elif like == "bfloat16":
        made = {name: tensor.bfloat16() for name, tensor in made.items()}
    elif like == "double":
        made = {name: tensor.double() for name, tensor in made.items()}
    elif like == "views":
        wide = {name: torch.stack([t, t + 1], dim=-1) for name, t in made.items()}
        made = {name: tensor[..., 1] for name, tensor in wide.items()}
    source = tmp_path / "a.pth"
    torch.save(made, source, _use_new_zipfile_serialization=layout == "zip")
    found = READ[layout](source, find_convolutions)
    if like == "bfloat16":  # NumPy has no such type
        made = {name: tensor.float() for name, tensor in made.items()}
    assert np.array_equal(found.kernels["conv3_4"], made["features.16.weight"].detach().numpy())
    assert np.array_equal(found.biases["conv1_1"], made["features.0.bias"].detach().numpy())


@pytest.mark.peers
@pytest.mark.parametrize("layout", READ)
def test_a_module_saved_by_pytorch_gives_pytorchs_own_activations(rng, tmp_path, layout):
    torch = pytest.importorskip("torch")
    from npstyle.networks.convert import convert
    from npstyle.networks.verify import draw_picture
    from tests.networks.test_convert import activations_of

    values = f.draw_values(rng, "D")
    modules, expected, block = [], {}, "1"
    for layer, (kernel, bias) in values.items():
        if layer[4] != block:
            block = layer[4]
            modules.append(torch.nn.AvgPool2d(2))
        conv = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        conv.load_state_dict({"weight": torch.tensor(kernel), "bias": torch.tensor(bias)})
        modules += [conv, torch.nn.ReLU()]
    network = torch.nn.Module()
    network.features = torch.nn.Sequential(*modules)
    source = tmp_path / "a.pth"
    torch.save(network.state_dict(), source, _use_new_zipfile_serialization=layout == "zip")
    picture = torch.tensor(draw_picture() / 255).permute(2, 0, 1)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = ((picture.permute(1, 2, 0) - torch.tensor(mean)) / torch.tensor(deviation)).permute(2, 0, 1)
    names = iter(values)
    with torch.no_grad():
        for module in network.double().features:
            x = module(x[None])[0]
            if isinstance(module, torch.nn.ReLU):
                expected[next(names)] = x.permute(1, 2, 0).numpy()
    convert(source, tmp_path / "out.npz")
    found = activations_of(tmp_path / "out.npz")
    for name, activation in expected.items():
        # torch.tensor stores the standard deviation in float32
        assert np.allclose(found[name], activation, rtol=1e-5, atol=1e-5 * activation.max()), name
