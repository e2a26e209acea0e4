import time
from dataclasses import replace
from pathlib import Path

import pytest

from npstyle.engine.bind import bind
from npstyle.networks.network import load_network
from npstyle.run.machine import Machine
from npstyle.run.settings import Settings
from npstyle.run.strategy import choose_strategy

PHOTO, PAINTING = (1500, 2000), (384, 512)
MB = 10**6


@pytest.fixture(scope="module")
def network():
    settings = Settings()
    wanted = [*settings.content_layers, *settings.style_layers]
    return bind(load_network("builtin"), wanted, route="fast")


def chosen(network, memory, machine=None, **changes):
    settings = replace(Settings(), **changes)
    return choose_strategy(network, settings, PHOTO, [PAINTING], 2, machine or Machine(), memory)


def test_less_memory_means_a_shorter_history_then_tiles_then_small_tiles(
    network,
):
    given = (9000, 2500, 2000, 1800, 1500, 1300, 1100)
    found = [chosen(network, memory * MB) for memory in given]
    assert all(strategy.memory <= m * MB for strategy, m in zip(found, given, strict=True))
    forms = list(dict.fromkeys((strategy.tile is not None, strategy.history) for strategy in found))
    assert forms[0] == (False, None)
    assert forms[1] == (False, 10)
    assert forms == sorted(forms, key=lambda form: (form[0], -(form[1] or 99)))
    assert (True, 10) in forms
    tiles = [strategy.tile for strategy in found if strategy.tile is not None]
    assert tiles[-1] < 512 <= tiles[0]
    assert all(strategy.cost > 1.5 for strategy in found if strategy.tile is not None)


def test_if_nothing_fits_the_smallest_strategy_is_returned(network):
    least = chosen(network, 100 * MB)
    assert least.memory > 100 * MB
    assert (least.tile, least.history) == (96, 3)
    assert chosen(network, least.memory + MB).tile >= 96
    assert chosen(network, least.memory - MB).memory > least.memory - MB


@pytest.mark.parametrize("huge", [(750_000, 10**6), (3 * 10**8, 4 * 10**8)])
@pytest.mark.parametrize("of_painting", [False, True])
@pytest.mark.parametrize("tile", ["auto", 96])
def test_a_picture_far_larger_than_memory_is_planned_at_once(network, huge, of_painting, tile):
    photo, painting = (PHOTO, huge) if of_painting else (huge, PAINTING)
    start = time.monotonic()
    machine = Machine(tile=tile)
    found = choose_strategy(network, Settings(), photo, [painting], 2, machine, 10**9)
    assert found.memory >= huge[0] * huge[1] * 24
    assert time.monotonic() - start < 5


def test_a_scratch_folder_relieves_memory(network):
    here = chosen(network, 1000 * MB)
    there = chosen(network, 1000 * MB, Machine(scratch=Path("scratch")))
    assert there.disk > 800 * MB > here.disk == 0
    assert there.history == 16 > here.history
    assert there.tile > here.tile


def test_a_requested_tile_is_used_and_off_means_the_whole_picture(network):
    assert chosen(network, 9000 * MB, Machine(tile=256)).tile == 256
    assert chosen(network, 100 * MB, Machine(tile=256)).history == 3
    assert chosen(network, 100 * MB, Machine(tile="off")).tile is None


def test_adam_has_no_history(network):
    assert chosen(network, 9000 * MB, optimizer="adam").history is None
    small = chosen(network, 1200 * MB, optimizer="adam")
    assert (small.history, small.tile is None) == (None, False)
