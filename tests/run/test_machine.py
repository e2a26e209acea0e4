import pytest

from npstyle.errors import InputError
from npstyle.run.machine import Machine, largest_side, parse_memory, parse_tile
from npstyle.run.strategy import choose_device
from npstyle.run.table import read_given


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("800 mb", 8e8), ("1.5G", 1.5e9), ("2GiB", 2 << 30), ("512K", 512e3)],
)
def test_memory_sizes_are_read_in_all_usual_forms(text, size):
    assert parse_memory("--memory", text) == size


@pytest.mark.parametrize("text", ["", "GB", "-4GB", "4 apples", "0", "4iB", "inf"])
def test_a_bad_memory_size_is_refused(text):
    with pytest.raises(InputError, match=r"--memory .*4GB"):
        parse_memory("--memory", text)


def test_tiles_are_read():
    assert [parse_tile("--tile", text) for text in ("auto", "off", "512")] == ["auto", "off", 512]
    for text in ("0", "-3", "1.5", "large"):
        with pytest.raises(InputError, match=f"--tile {text}"):
            parse_tile("--tile", text)


def test_the_options_of_a_machine_are_read(tmp_path):
    entries = {"tile": "64", "memory": "1GB", "scratch": str(tmp_path), "threads": None}
    assert Machine(**read_given(Machine, entries)) == Machine(
        tile=64, memory=10**9, scratch=tmp_path
    )
    with pytest.raises(InputError, match=r"--scratch .*none: no file can be created there"):
        read_given(Machine, {"scratch": str(tmp_path / "none")})


def test_the_largest_side_that_fits_is_found_in_few_steps():
    calls = []

    def needed(side):
        calls.append(side)
        if side < 16:
            raise InputError("too small")
        return side**2

    assert largest_side(1, 60000, needed, 5000**2) == 5000
    assert largest_side(1, 60000, needed, 16**2) == 16
    assert largest_side(1, 400, needed, 5000**2) == 400
    assert len(calls) < 60
    assert largest_side(1, 60000, needed, 15**2) is None
    assert largest_side(100, 60000, needed, 99**2) is None
    assert largest_side(1, 10, needed, 10**9) is None


def test_with_a_cluster_the_device_is_the_cpu():
    assert str(choose_device(Machine(cluster="local:2"))) == "cpu"
