import struct

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.caffe import read_caffe
from tests.networks import foreign as f


@pytest.mark.parametrize("old", [True, False])
def test_old_and_new_layers_and_blobs_are_read(rng, tmp_path, old):
    values = f.draw_values(rng)
    found = read_caffe(f.write_caffe(tmp_path / "a.caffemodel", values, old))
    for name, (kernel, bias) in values.items():
        assert np.array_equal(found.kernels[name], kernel)
        assert np.array_equal(found.biases[name], bias)


def test_unknown_fields_of_all_wire_types_are_skipped(rng, tmp_path):
    source = f.write_caffe(tmp_path / "a.caffemodel", f.draw_values(rng))
    more = f.varint(5 << 3 | 1) + bytes(8) + f.varint(6 << 3 | 5) + bytes(4) + f.field(7, 1 << 62)
    source.write_bytes(more + source.read_bytes() + more)
    assert len(read_caffe(source).kernels) == 16


def blob(shape, data):
    return f.field(7, f.field(1, b"".join(map(f.varint, shape)))) + f.field(5, data)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (blob((1 << 40, 3, 3, 3), bytes(108)), "declares the shape"),
        (blob((1 << 62,) * 4, bytes(108)), "declares the shape"),
        (blob((0, 3, 3, 3), b""), "declares the shape"),
        (blob((1, 3, 3, 3), bytes(107)), "contains 107 bytes"),
        (f.field(5, bytes(8)), r"shape \(1, 1, 1, 1\)"),
        (f.field(7, b"") + f.field(5, bytes(8)), "dimensions"),
        (blob((1,) * 40, bytes(4)), "dimensions"),
        (b"\x2f", "wire type 7"),
        (b"\x2a\xff\xff\xff\xff\x0f", "beyond its message"),
        (b"\xff" * 20, "does not end"),
        (b"\x08", "does not end"),
    ],
)
def test_an_inconsistent_blob_is_refused(rng, tmp_path, made, message):
    values = {"conv1_1": f.draw_values(rng)["conv1_1"]}
    source = f.write_caffe(tmp_path / "a.caffemodel", values, old=False, blob=lambda *_: made)
    with pytest.raises(InputError, match=rf"a\.caffemodel: .*{message}"):
        read_caffe(source)


def test_a_layer_without_bias_is_refused_by_name(rng, tmp_path):
    values = f.draw_values(rng)
    values["conv3_3"] = values["conv3_3"][:1]
    with pytest.raises(InputError, match="layer conv3_3 has 1 blobs"):
        read_caffe(f.write_caffe(tmp_path / "a.caffemodel", values))


def test_a_name_that_is_not_utf8_belongs_to_no_convolution(tmp_path):
    source = tmp_path / "a.caffemodel"
    source.write_bytes(f.field(2, f.field(4, b"conv1_\xff")))
    assert read_caffe(source).kernels == {}


def test_too_many_layers_are_refused(tmp_path):
    source = tmp_path / "a.caffemodel"
    source.write_bytes(f.field(2, b"") * 20_000)
    with pytest.raises(InputError, match="too many layers"):
        read_caffe(source)


def test_numbers_are_little_endian_floats(tmp_path):
    values = {"conv1_1": (np.ones((1, 3, 3, 3), "f4"), np.ones(1, "f4"))}
    data = struct.pack("<27f", *range(27))
    source = f.write_caffe(tmp_path / "a", values, False, lambda array, _: blob((1, 3, 3, 3), data))
    assert read_caffe(source).kernels["conv1_1"].ravel().tolist() == list(range(27))
