from dataclasses import replace
from pathlib import Path

import pytest

from npstyle.errors import InputError
from npstyle.networks.network import accelerate, load_network
from npstyle.run.settings import Settings
from npstyle.run.strategy import (
    MemoryLimits,
    choose_strategy,
    parse_limits,
    parse_memory,
    parse_tile,
)

PHOTO, PAINTING = (1500, 2000), (384, 512)
MB = 10**6


@pytest.fixture(scope="module")
def network():
    settings = Settings()
    wanted = [*settings.content_layers, *settings.style_layers]
    return accelerate(load_network("builtin"), wanted)


def fitted(network, memory, limits=None, **changes):
    settings = replace(Settings(), **changes)
    return choose_strategy(network, settings, PHOTO, [PAINTING], 2, room or MemoryLimits(), memory)


def test_with_less_memory_come_rounded_pairs_then_tiles_then_fewer_pairs_then_small_tiles(network):
    given = (9000, 2800, 2000, 1800, 1500, 1300, 1200)
    found = [fitted(network, memory * MB) for memory in given]
    assert all(strategy.memory <= m * MB for fit, m in zip(found, given, strict=True))
    forms = list(dict.fromkeys((strategy.tile is not None, strategy.history) for strategy in found))
    assert forms[0] == (False, None)
    assert forms[1] == (False, 10)
    assert forms == sorted(forms, key=lambda form: (form[0], -(form[1] or 99)))
    assert (True, 10) in forms
    tiles = [strategy.tile for strategy in found if strategy.tile is not None]
    assert tiles[-1] < 512 <= tiles[0]
    assert all(strategy.cost > 1.5 for strategy in found if strategy.tile is not None)


def test_where_nothing_fits_the_least_that_would_do_is_told(network):
    least = fitted(network, 100 * MB)
    assert least.memory > 100 * MB
    assert (least.tile, least.history) == (96, 3)
    assert fitted(network, least.memory + MB).tile >= 96
    assert fitted(network, least.memory - MB).memory > least.memory - MB


def test_a_folder_for_scratch_takes_what_memory_would_have_to(network):
    here = fitted(network, 1200 * MB)
    there = fitted(network, 1200 * MB, MemoryLimits(scratch=Path("scratch")))
    assert there.disk > 800 * MB > here.disk == 0
    assert there.history == 10 > here.history
    assert there.tile > here.tile


def test_a_tile_that_is_asked_for_is_taken_and_off_is_one_piece(network):
    assert fitted(network, 9000 * MB, MemoryLimits(tile=256)).tile == 256
    assert fitted(network, 100 * MB, MemoryLimits(tile=256)).history == 3
    assert fitted(network, 100 * MB, MemoryLimits(tile="off")).tile is None


def test_adam_keeps_no_pairs(network):
    assert fitted(network, 9000 * MB, optimizer="adam").history is None
    small = fitted(network, 1200 * MB, optimizer="adam")
    assert (small.history, small.tile is None) == (None, False)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("800 mb", 8e8), ("1.5G", 1.5e9), ("2GiB", 2 << 30), ("512K", 512e3)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-4GB", "4 apples", "0", "4iB", "inf"])
def test_what_is_no_size_is_told(text):
    with pytest.raises(InputError, match=r"--memory .*4GB"):
        parse_memory(text)


def test_tiles_are_read(tmp_path):
    assert [parse_tile(text) for text in ("auto", "off", "512")] == ["auto", "off", 512]
    for text in ("0", "-3", "1.5", "large"):
        with pytest.raises(InputError, match=f"--tile {text}"):
            parse_tile(text)
    assert parse_limits("64", "1GB", tmp_path) == MemoryLimits(64, 10**9, tmp_path)
