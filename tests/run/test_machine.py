import pytest

from npstyle.errors import InputError
from npstyle.run.machine import Machine, parse_memory, parse_tile
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


def test_with_a_cluster_the_device_is_the_cpu():
    assert str(choose_device(Machine(cluster="local:2"))) == "cpu"
