import threading
import time
import weakref

import numpy as np
import pytest
from npstyle.engine.crew import Crew


@pytest.fixture
def crew():
    crew = Crew(2)
    yield crew
    crew.close()


def test_calls_are_answered_by_the_crew_and_waited_for(crew):
    answered = []

    def work():
        time.sleep(0.02)
        answered.append(threading.get_ident())

    together = threading.Barrier(3, timeout=20)
    calls = [crew.call(lambda: (together.wait(), work())) for _ in range(2)]
    together.wait()  # both have begun: neither can be taken back
    for call in calls:
        call.settle()
    assert len(set(answered) - {threading.get_ident()}) == 2


def test_a_call_that_nobody_has_begun_is_taken_back_and_its_arrays_let_go(crew):
    begun, go_on = threading.Semaphore(0), threading.Event()
    busy = [crew.call(lambda: (begun.release(), go_on.wait(20))) for _ in range(2)]
    for _ in busy:
        begun.acquire(timeout=20)
    ran = []
    array = np.zeros(3)
    alive = weakref.ref(array)
    late = crew.call(lambda array=array: ran.append(len(array)))
    del array
    late.settle()
    assert alive() is None
    go_on.set()
    for call in busy:
        call.settle()
    assert ran == []


def test_what_a_call_raised_is_raised_where_it_is_settled(crew):
    begun = threading.Event()

    def work():
        begun.set()
        raise ZeroDivisionError("in a thread")

    call = crew.call(work)
    assert begun.wait(20)
    with pytest.raises(ZeroDivisionError, match="in a thread"):
        call.settle()


def test_a_closed_crew_leaves_no_thread_behind():
    before = threading.active_count()
    crew = Crew(3)
    assert threading.active_count() == before + 3
    crew.close()
    assert threading.active_count() == before
