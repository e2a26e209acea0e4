import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from npstyle.errors import InputError
from npstyle.networks.formats.matconvnet import read_matconvnet
from tests.networks import foreign as f


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_filters_are_transposed_to_out_in_and_the_average_image_gives_the_mean(
    rng, tmp_path, old, compress
):
    values = f.draw_values(rng)
    source = f.write_matconvnet(tmp_path / "vgg.mat", values, old, compress=compress)
    found = read_matconvnet(source)
    assert np.array_equal(found.kernels["conv1_1"], values["conv1_1"][0][:, ::-1])
    assert np.array_equal(found.kernels["conv4_2"], values["conv4_2"][0])
    assert np.array_equal(found.biases["conv4_2"], values["conv4_2"][1])
    assert (found.preprocessing.channel_order, found.preprocessing.mean) == ("RGB", f.MEAN_RGB)


def test_a_whole_average_image_gives_its_mean_colour(rng, tmp_path):
    image = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (4, 6, 3)).copy()
    image[0, 0, 0] += 24
    source = f.write_matconvnet(tmp_path / "vgg.mat", f.draw_values(rng), average=image)
    assert read_matconvnet(source).preprocessing.mean == (2.0, 2.0, 3.0)


def test_files_without_a_valid_network_are_refused(rng, tmp_path):
    source = tmp_path / "a.mat"
    savemat(source, {"x": np.eye(3)})
    with pytest.raises(InputError, match=r"a\.mat: is a MATLAB file without MatConvNet's `layers`"):
        read_matconvnet(source)
    f.write_matconvnet(source, f.draw_values(rng), average=(1.0, 2.0))
    with pytest.raises(InputError, match="averageImage"):
        read_matconvnet(source)
    values = f.draw_values(rng)
    values["conv2_1"] = values["conv2_1"][0].astype(int), values["conv2_1"][1]
    f.write_matconvnet(source, values)
    with pytest.raises(InputError, match="layer conv2_1 has filters"):
        read_matconvnet(source)


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(class_, dims, *parts, flags=0):
    head = element(6, struct.pack("<II", class_ | flags << 8, 0))
    head += element(5, struct.pack(f"<{len(dims)}i", *dims)) + element(1, b"layers")
    return element(14, head + b"".join(parts))


def nested(depth):
    inner = array(6, (1, 1), element(9, bytes(8)))
    for _ in range(depth):
        inner = array(1, (1, 1), inner)
    return inner


FIELDS = struct.pack("<HHI", 5, 4, 4)  # names of four bytes, in a short element
HOSTILE = {
    "a cell of two billion entries": (array(1, (1 << 15, 1 << 16)), "too many entries"),
    "a structure of two billion entries": (
        array(2, (1 << 15, 1 << 16), FIELDS, element(1, b"abc\0")),
        "entries",
    ),
    "a structure of many fields": (
        array(2, (60, 60), FIELDS, element(1, b"abc\0" * 64)),
        "too many entries",
    ),
    "a structure with fields without names": (
        array(2, (1, 1), FIELDS, element(1, b"abc")),
        "names",
    ),
    "missing numbers": (array(6, (1000, 1000), element(9, bytes(64))), "more or fewer"),
    "a negative size": (array(6, (-1, -1), element(9, bytes(8))), "no valid size"),
    "one dimension": (array(6, (3,), element(9, bytes(24))), "no valid size"),
    "an object": (array(3, (1, 1)), "class 3"),
    "a function": (array(16, (1, 1)), "class 16"),
    "an opaque object": (array(17, (1, 1)), "class 17"),
    "a sparse array": (array(5, (1, 1)), "class 5"),
    "a deep nest": (nested(5000), "no network has"),
    "a bomb": (
        element(15, zlib.compress(array(6, (8000, 1000), element(9, bytes(64_000_000))))),
        "far more numbers",
    ),
    "something else": (element(9, bytes(64)), "no network has"),
    "an invalid tag": (b"\x09\x00\x08\x00" + bytes(60), "tag of an element is damaged"),
    "a truncated element": (b"\x0e\x00\x00\x00\xff\xff\x00\x00" + bytes(60), "truncated"),
    "an empty compressed element": (element(15, zlib.compress(b"")), "truncated"),
    "damaged compressed data": (element(15, b"x" * 64), "damaged"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_before_scipy_reads_them(tmp_path, monkeypatch, what):
    data, says = HOSTILE[what]
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    source = tmp_path / "evil.mat"
    source.write_bytes(header + data)

    def loadmat(*_, **__):
        raise AssertionError("SciPy was asked to read it")

    monkeypatch.setattr("scipy.io.loadmat", loadmat)
    with pytest.raises(InputError, match=rf"evil\.mat: .*{says}"):
        read_matconvnet(source)
