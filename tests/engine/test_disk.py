import errno
import os

import numpy as np
import pytest

from npstyle.engine import disk
from npstyle.engine.disk import in_memory, let_go, on_disk
from npstyle.errors import InputError


def test_arrays_in_files_begin_as_zeros_keep_their_values_and_leave_no_file(tmp_path):
    array = on_disk(tmp_path)((3, 5), np.float32, "a target")
    assert array.dtype == np.float32
    assert not array.any()
    array[1, 2] = 7
    let_go(array)
    assert array[1, 2] == 7
    assert array.sum() == 7
    del array
    assert list(tmp_path.iterdir()) == []


def test_arrays_in_memory_are_not_changed():
    array = in_memory((4,), np.float64, "a target")
    array += 1
    let_go(array)
    assert array.sum() == 4


def test_released_memory_no_longer_counts_as_the_programs(tmp_path):
    import psutil

    array = on_disk(tmp_path)((1 << 22,), np.float64, "a target")
    array[:] = 1
    before = psutil.Process().memory_info().rss
    let_go(array)
    assert before - psutil.Process().memory_info().rss > 0.9 * array.nbytes


def test_a_full_disk_is_reported_in_one_sentence(tmp_path, monkeypatch):
    def full(file, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    allocate = on_disk(tmp_path)
    monkeypatch.setattr(disk, "_reserve", full)
    with pytest.raises(InputError, match=r"a target takes 2000\.0 MB .*No space left.*free some"):
        allocate((500_000_000,), np.float32, "a target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, kind):
    folder = tmp_path / "x"
    if kind == "a file":
        folder.write_text("")
    with pytest.raises(InputError, match=r"--scratch .*choose a folder"):
        on_disk(folder)
