import threading
import time
import weakref

import numpy as np
import pytest

from npstyle.engine.thread_pool import ThreadPool


@pytest.fixture
def pool():
    pool = ThreadPool(2)
    yield pool
    pool.close()


def test_calls_run_on_threads_and_are_waited_for(pool):
    ran_on = []

    def work():
        time.sleep(0.02)
        ran_on.append(threading.get_ident())

    together = threading.Barrier(3, timeout=20)
    calls = [pool.call(lambda: (together.wait(), work())) for _ in range(2)]
    together.wait()  # both have begun: neither can be cancelled
    for call in calls:
        call.settle()
    assert len(set(ran_on) - {threading.get_ident()}) == 2


def test_a_call_that_has_not_begun_is_cancelled_and_its_arrays_freed(pool):
    begun, go_on = threading.Semaphore(0), threading.Event()
    busy = [pool.call(lambda: (begun.release(), go_on.wait(20))) for _ in range(2)]
    for _ in busy:
        begun.acquire(timeout=20)
    ran = []
    array = np.zeros(3)
    alive = weakref.ref(array)
    late = pool.call(lambda array=array: ran.append(len(array)))
    del array
    late.settle()
    assert alive() is None
    go_on.set()
    for call in busy:
        call.settle()
    assert ran == []


def test_an_error_of_a_call_is_raised_where_it_is_settled(pool):
    begun = threading.Event()

    def work():
        begun.set()
        raise ZeroDivisionError("in a thread")

    call = pool.call(work)
    assert begun.wait(20)
    with pytest.raises(ZeroDivisionError, match="in a thread"):
        call.settle()


def test_a_closed_pool_leaves_no_thread_behind():
    before = threading.active_count()
    pool = ThreadPool(3)
    assert threading.active_count() == before + 3
    pool.close()
    assert threading.active_count() == before
