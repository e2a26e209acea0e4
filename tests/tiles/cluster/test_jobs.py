from collections import deque
from contextlib import closing
from functools import partial

import pytest

from npstyle.errors import InputError
from npstyle.tiles.cluster import jobs as cluster_jobs
from npstyle.tiles.cluster.jobs import Job, answers


class Future:
    """One of Dask's, for what Dask would do: it settles when it is told to."""

    def __init__(self, status="pending", value=None):
        self.status, self.value, self.heard, self.released = status, value, [], False

    def add_done_callback(self, heard):
        self.heard.append(heard)
        if self.status != "pending":
            heard(self)

    def settle(self, status, value=None):
        self.status, self.value = status, value
        for heard in self.heard:
            heard(self)

    def result(self, timeout):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def exception(self):
        return self.value

    def release(self):
        self.released = True


class Cluster:
    address = "here"
    looked = 0

    def check(self):
        self.looked += 1
        if self.looked > 60:
            raise TimeoutError("the test hangs")

    def room(self):
        return 2

    def avoid(self, late):
        self.avoided = late

    def let_go(self, future):
        future.release()


def done(value, _copy=0):
    return Future("finished", value)


def all_answers(jobs, spent=None):
    spent = deque() if spent is None else spent
    with closing(answers(Cluster(), deque(jobs), spent)) as found:
        return dict(found)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "TICK", 0.01)
    monkeypatch.setattr(cluster_jobs, "HICCUP", 0.02)


def test_every_job_is_answered_once_and_what_is_fetched_is_let_go():
    futures = [Future("finished", k) for k in range(5)]
    jobs = [Job(k, lambda _copy, k=k: futures[k], fetched=k != 3) for k in range(5)]
    found = all_answers(jobs)
    assert found == {0: 0, 1: 1, 2: 2, 3: futures[3], 4: 4}
    assert [future.released for future in futures] == [True, True, True, False, True]


def test_no_more_jobs_run_at_a_time_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "HICCUP", 100)
    running, most = set(), []

    def start(name, _copy):
        running.add(name)
        most.append(len(running))
        return done(name)

    jobs = deque(Job(k, partial(start, k)) for k in range(9))
    with closing(answers(Cluster(), jobs, deque())) as arriving:
        for name, _ in arriving:
            running.discard(name)
    assert max(most) == 2


def test_a_job_may_bring_up_another():
    jobs = deque([Job("first", partial(done, 1))])
    with closing(answers(Cluster(), jobs, deque())) as arriving:
        assert next(arriving) == ("first", 1)
        jobs.append(Job("second", partial(done, 2)))
        assert list(arriving) == [("second", 2)]


def test_late_jobs_take_up_no_room_but_not_without_end():
    stuck = [Future() for _ in range(9)]
    jobs = [Job(k, lambda _copy, k=k: stuck[k]) for k in range(9)]
    with pytest.raises(TimeoutError, match="hangs"):
        all_answers(jobs, deque([0.0]))
    assert sum(future.released for future in stuck) == cluster_jobs.CROWD * Cluster().room()


def test_a_late_job_has_a_copy_once_nothing_else_is_left_and_the_first_answer_counts():
    starts, slow = [], Future()

    def start(name, copy):
        starts.append((name, copy))
        return slow if name == "slow" and not copy else done((name, copy))

    names = ["slow", *range(9)]
    found = all_answers([Job(name, partial(start, name)) for name in names])
    assert found == {"slow": ("slow", 1)} | {k: (k, 0) for k in range(9)}
    assert starts == [*((name, 0) for name in names), ("slow", 1)]
    assert slow.released


def test_without_a_median_nobody_is_late_and_there_are_no_more_copies_than_room():
    for spent, copies in ((deque(), 1), (deque([0.0]), 3)):
        alone = [Future() for _ in range(4)]
        job = Job("alone", lambda copy, alone=alone: alone[copy])
        with pytest.raises(TimeoutError, match="hangs"):
            all_answers([job], spent)
        assert [future.released for future in alone] == [k < copies for k in range(4)]


def test_what_the_cluster_has_lost_is_begun_again():
    lost = [Future("cancelled"), Future("finished", OSError("on its way")), Future("finished", 3)]
    assert all_answers([Job("once", lambda copy: lost[copy])]) == {"once": 3}
    with pytest.raises(InputError, match="--cluster here: the result of a tile was lost 3 times"):
        all_answers([Job("once", lambda _copy: Future("cancelled"))])


def test_an_error_of_the_job_itself_is_the_callers():
    other = Future()
    with pytest.raises(ZeroDivisionError):
        all_answers(
            [
                Job("other", lambda _copy: other),
                Job("bad", lambda _copy: Future("error", ZeroDivisionError())),
            ]
        )
    assert other.released


def test_a_tile_that_workers_die_over_is_named():
    distributed = pytest.importorskip("distributed", reason="the extra `cluster`")
    killed = distributed.KilledWorker("share", None, 3)
    with pytest.raises(InputError, match="smaller --tile"):
        all_answers([Job("large", lambda _copy: Future("error", killed))])
