import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from npstyle.engine.machine import available_memory, held_memory, physical_cores
from npstyle.engine.strips import even_strips, evenness, longest_even_strip, strips
from npstyle.engine.threads import parallel_for, use_threads
from npstyle.errors import InputError


def blas_threads():
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


def test_threads_limit_blas_to_one_thread_and_restore_it():
    with threadpool_limits(2, user_api="blas"):
        with use_threads(2):
            assert blas_threads() == {1}
        assert blas_threads() == {2}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_item_is_processed_once_by_the_requested_threads(count):
    done, workers, lock = [], set(), threading.Lock()
    together = threading.Barrier(count, timeout=20)

    def work(queue):
        together.wait()
        for item in queue:
            with lock:
                done.append(item)
                workers.add(threading.get_ident())

    with use_threads(count):
        parallel_for(work, range(100))
    assert sorted(done) == list(range(100))
    assert 1 <= len(workers) <= count


def test_without_threads_the_caller_does_the_work():
    workers = []
    parallel_for(lambda queue: workers.extend(threading.get_ident() for _ in queue), range(3))
    assert workers == [threading.get_ident()] * 3


def test_an_error_in_a_worker_reaches_the_caller():
    def work(queue):
        for item in queue:
            raise ZeroDivisionError(item)

    with use_threads(2), pytest.raises(ZeroDivisionError):
        parallel_for(work, range(5))


@pytest.mark.parametrize(("rows", "height"), [(1, 1), (7, 3), (8, 100), (100, 7), (0, 4), (5, 0)])
@pytest.mark.parametrize("cut", [strips, even_strips])
def test_strips_cover_all_rows_once(rows, height, cut):
    strips = cut(rows, height)
    assert [row for first, end in strips for row in range(first, end)] == list(range(rows))
    assert all(0 < end - first <= max(1, height) for first, end in strips)


def test_no_thread_remains():
    before = threading.active_count()
    together = threading.Barrier(3, timeout=20)
    with use_threads(3):
        parallel_for(lambda queue: together.wait(), range(3))
        assert threading.active_count() == before + 2
    assert threading.active_count() == before


def test_zero_threads_are_refused():
    with pytest.raises(InputError, match="--threads 0"), use_threads(0):
        pass


def test_the_machine_has_cores_and_memory():
    assert physical_cores() >= 1
    assert available_memory() > 0
    assert held_memory() > 0


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_is_raised_after_the_strip_and_the_rest_is_left(count):
    done = []

    def work(queue):
        for item in queue:
            done.append(item)
            if item == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    before = signal.getsignal(signal.SIGINT)
    with use_threads(count):
        with pytest.raises(KeyboardInterrupt):
            parallel_for(work, range(1000))
        assert 3 in done
        assert len(done) < 100
        parallel_for(work, [1])
    assert signal.getsignal(signal.SIGINT) is before


def test_the_longest_even_strip_is_known_without_making_the_strips():
    for rows in (1, 3, 100, 101, 4099):
        for height in (1, 7, 30, 5000):
            longest = max(end - first for first, end in even_strips(rows, height))
            assert longest_even_strip(rows, height) == longest
    start = time.process_time()
    longest_even_strip(10**9, 100)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_even_strips_are_a_multiple_of_four_however_many_threads(count):
    with use_threads(count):
        assert len(even_strips(100, 30)) == 4
        assert len(even_strips(100, 20)) == 8
        assert len(even_strips(3, 1)) == 3
        assert len(even_strips(100, 100, evenness(100))) == 1
        assert len(even_strips(100, 100, evenness(10**6))) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is of Linux")
@pytest.mark.usefixtures("own_malloc")
def test_large_arrays_give_their_memory_back_when_asked_to():
    # An array that is freed lets glibc keep the next one's memory, below an array that lives on.
    code = """
import sys
import numpy as np, psutil
from npstyle.engine.machine import release_memory
if sys.argv[1] == "asked":
    release_memory()
np.ones(1 << 21)
freed, lives_on = np.ones(1 << 21), np.ones(1 << 18)
before = psutil.Process().memory_info().rss
del freed
print(before - psutil.Process().memory_info().rss)
"""
    given_back = {
        word: int(subprocess.check_output([sys.executable, "-c", code, word]))
        for word in ("asked", "not")
    }
    assert given_back["asked"] > 0.9 * 8 * (1 << 21) > given_back["not"]


def test_the_threads_let_go_of_a_worker_before_parallel_for_returns():
    for _ in range(200):
        array = np.zeros(10)
        alive = weakref.ref(array)

        def work(queue, array=array):
            for _ in queue:
                array[0] += 1

        with use_threads(2):
            parallel_for(work, range(4))
            del work, array
            assert alive() is None
