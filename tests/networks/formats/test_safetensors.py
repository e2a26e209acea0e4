import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.formats.safetensors import is_safetensors, read_safetensors
from npstyle.networks.formats.state_dict import find_convolutions
from npstyle.networks.formats.tensor_file import read_tensors
from tests.networks import foreign as f


def test_all_float_types_are_read_unchanged(rng, tmp_path):
    tensors = f.torch_names(f.draw_values(rng))
    for dtype in (np.float16, np.float32, np.float64):
        cast = {name: array.astype(dtype) for name, array in tensors.items()}
        source = f.write_safetensors(tmp_path / "a.safetensors", cast)
        assert is_safetensors(source.read_bytes()[:64])
        kernel = read_safetensors(source, find_convolutions).kernels["conv2_2"]
        assert kernel.dtype == dtype
        assert np.array_equal(kernel, cast["features.7.weight"])


def test_a_header_whose_length_begins_as_a_pickle_is_read(rng, tmp_path):
    source = f.write_safetensors(tmp_path / "a.safetensors", f.torch_names(f.draw_values(rng)))
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    longer = 0x10280  # the bytes 80 02 01; spaces may follow the header
    assert length < longer
    head = data[8 : 8 + length].ljust(longer)
    source.write_bytes(longer.to_bytes(8, "little") + head + data[8 + length :])
    assert len(read_tensors(source, source.read_bytes()[:64], find_convolutions).kernels) == 16


def header(dtype="F32", shape=(64, 3, 3, 3), end=6912):
    return {"features.0.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


@pytest.mark.parametrize(
    ("entries", "data", "says"),
    [
        (header(), bytes(100), "damaged or truncated"),
        (header(shape=(1 << 40, 3, 3, 3)), bytes(6912), "damaged or truncated"),
        (header(end=1 << 50), bytes(6912), "damaged or truncated"),
        (header(dtype="F31"), bytes(6912), "damaged or truncated"),
        ([1, 2], b"", "damaged or truncated"),
        (header("BF16", end=3456), bytes(3456), "bias is missing|BF16"),
    ],
)
def test_an_inconsistent_header_is_refused(tmp_path, entries, data, says):
    source = tmp_path / "a.safetensors"
    source.write_bytes(f.safetensors_header(entries, data))
    with pytest.raises(InputError, match=rf"a\.safetensors: .*({says})"):
        read_safetensors(source, find_convolutions)


def test_tensors_of_unsupported_types_are_refused_by_name(tmp_path):
    entries = header("I16", end=3456)
    entries["features.0.bias"] = {"dtype": "I16", "shape": [64], "data_offsets": [3456, 3584]}
    source = tmp_path / "a.safetensors"
    source.write_bytes(f.safetensors_header(entries, bytes(3584)))
    says = r"^\S+a\.safetensors: the tensor features\.0\.weight is I16; save it as one of BF16"
    with pytest.raises(InputError, match=says):
        read_safetensors(source, find_convolutions)


def test_bfloat16_is_widened_exactly(rng, tmp_path):
    tensors = f.torch_names(f.draw_values(rng))
    found = read_safetensors(f.write_bfloat16(tmp_path / "a.dat", tensors), find_convolutions)
    kernel = found.kernels["conv2_2"]
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel, f.bfloat16(tensors["features.7.weight"])[1])
