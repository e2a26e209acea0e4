import subprocess
import sys
import threading

import numpy as np
import pytest

from npstyle.engine.arena import ALIGNMENT, Arena, empty


def test_arrays_that_live_at_the_same_time_do_not_overlap(rng):
    arena = Arena(1 << 16)
    living = {}
    for k in range(300):
        if living and rng.random() < 0.5:
            del living[rng.choice(list(living))]
        array = arena.empty((int(rng.integers(1, 40)), 3), rng.choice([np.float32, np.float64]))
        array[:] = k
        living[k] = array
        for number, other in living.items():
            assert np.all(other == number)


def test_an_array_takes_the_lowest_gap_that_is_large_enough():
    arena = Arena(1 << 16)
    small, _wall, large, _end = (arena.empty((64 * n,), np.uint8) for n in (1, 1, 3, 1))
    lower, higher = small.ctypes.data, large.ctypes.data
    del small, large
    assert arena.empty((128,), np.uint8).ctypes.data == higher
    assert arena.empty((64,), np.uint8).ctypes.data == lower


def test_memory_is_free_again_only_when_the_last_view_is_gone():
    arena = Arena(1 << 16)
    array = arena.empty((8, 8), np.float32)
    place, view = array.ctypes.data, array.reshape(-1)[::2].view(np.int32)[1:]
    del array
    assert arena.empty((8, 8), np.float32).ctypes.data != place
    del view
    assert arena.empty((8, 8), np.float32).ctypes.data == place


def test_other_threads_may_release_arrays():
    arena = Arena(1 << 16)
    arrays = [arena.empty((16,), np.float32) for _ in range(32)]
    places = {array.ctypes.data for array in arrays}
    threads = [threading.Thread(target=arrays.pop) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = [arena.empty((16,), np.float32) for _ in range(32)]
    assert {array.ctypes.data for array in again} == places


def test_arrays_that_do_not_fit_and_empty_ones_are_allocated_by_numpy():
    arena = Arena(1 << 10)
    assert arena.empty((1 << 10,), np.float32).shape == (1 << 10,)
    assert arena.empty((0, 3), np.float32).shape == (0, 3)
    assert arena.used == 0


def test_used_counts_to_the_highest_end():
    arena = Arena(1 << 16)
    first = arena.empty((10,), np.uint8)
    arena.empty((100,), np.uint8)
    assert first.size == 10
    assert arena.used == ALIGNMENT + 100


def test_arrays_come_from_the_arena_only_while_it_is_lent():
    arena = Arena(1 << 16)
    empty((10,), np.float32)
    with arena.lent():
        inside = empty((2, 5), np.float64)
    outside = empty((100,), np.float64)
    assert arena.used == inside.nbytes
    assert inside.shape == (2, 5)
    assert inside.dtype == outside.dtype == np.float64


def test_an_array_outlives_its_arena():
    array = Arena(1 << 12).empty((256,), np.float32)
    array[:] = 3
    assert array.sum() == 768


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_is_taken_as_it_is_written_to_and_only_once():
    code = """
import numpy as np, psutil
from npstyle.engine.arena import Arena
held = lambda: psutil.Process().memory_info().rss
arena = Arena(1 << 30)
before = held()
for _ in range(20):
    arena.empty((1 << 24,), np.uint8)[:] = 1
assert held() - before < 1 << 25, held() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
