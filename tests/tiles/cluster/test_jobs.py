from asyncio import CancelledError
from collections import deque
from contextlib import closing
from functools import partial

import pytest

from npstyle.errors import InputError
from npstyle.tiles.cluster import jobs as cluster_jobs
from npstyle.tiles.cluster.jobs import Job, results


class Future:
    """Stand-in for one of Dask's futures, which settles when the test says so."""

    def __init__(self, status="pending", value=None):
        self.status, self.value, self.callbacks, self.released = status, value, [], False

    def add_done_callback(self, callback):
        self.callbacks.append(callback)
        if self.status != "pending":
            callback(self)

    def settle(self, status, value=None):
        self.status, self.value = status, value
        for callback in self.callbacks:
            callback(self)

    def result(self, timeout):
        if self.status == "cancelled":
            raise CancelledError
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def release(self):
        self.released = True


class Cluster:
    """Stand-in for a cluster; it gives up after 60 checks."""

    address = "here"
    checks = 0

    def check(self):
        self.checks += 1
        if self.checks > 60:
            raise TimeoutError("the test hangs")

    def capacity(self):
        return 2

    def avoid(self, stragglers):
        self.avoided = stragglers

    def release(self, future):
        future.release()


def done(value, _copy=0):
    return Future("finished", value)


def all_results(jobs, durations=None):
    durations = deque() if durations is None else durations
    with closing(results(Cluster(), deque(jobs), durations)) as found:
        return dict(found)


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(cluster_jobs, "SHORTEST_MEDIAN", 0.02)


def test_every_job_gives_one_result_and_its_future_is_released():
    futures = [Future("finished", k) for k in range(5)]
    jobs = [Job(k, lambda _copy, k=k: futures[k]) for k in range(5)]
    assert all_results(jobs) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    assert all(future.released for future in futures)


def test_no_more_jobs_run_at_a_time_than_the_capacity_allows(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "SHORTEST_MEDIAN", 100)
    running, counts = set(), []

    def start(name, _copy):
        running.add(name)
        counts.append(len(running))
        return done(name)

    jobs = deque(Job(k, partial(start, k)) for k in range(9))
    with closing(results(Cluster(), jobs, deque())) as arriving:
        for name, _ in arriving:
            running.discard(name)
    assert max(counts) == 2


def test_stragglers_do_not_count_against_the_capacity_up_to_a_limit():
    stuck = [Future() for _ in range(9)]
    jobs = [Job(k, lambda _copy, k=k: stuck[k]) for k in range(9)]
    with pytest.raises(TimeoutError, match="hangs"):
        all_results(jobs, deque([0.0]))
    limit = cluster_jobs.MAX_LOAD * Cluster().capacity()
    assert sum(future.released for future in stuck) == limit


def test_a_straggler_is_copied_once_no_other_job_is_left_and_the_first_result_counts():
    starts, slow = [], Future()

    def start(name, copy):
        starts.append((name, copy))
        return slow if name == "slow" and not copy else done((name, copy))

    names = ["slow", *range(9)]
    found = all_results([Job(name, partial(start, name)) for name in names])
    assert found == {"slow": ("slow", 1)} | {k: (k, 0) for k in range(9)}
    assert starts == [*((name, 0) for name in names), ("slow", 1)]
    assert slow.released


def test_without_a_median_nothing_is_copied_and_copies_never_exceed_the_capacity():
    for durations, copies in ((deque(), 1), (deque([0.0]), 3)):
        alone = [Future() for _ in range(4)]
        job = Job("alone", lambda copy, alone=alone: alone[copy])
        with pytest.raises(TimeoutError, match="hangs"):
            all_results([job], durations)
        assert [future.released for future in alone] == [k < copies for k in range(4)]


def test_a_job_whose_result_is_lost_starts_again():
    lost = [Future("cancelled"), Future("finished", OSError("on its way")), Future("finished", 3)]
    assert all_results([Job("once", lambda copy: lost[copy])]) == {"once": 3}
    with pytest.raises(InputError, match="--cluster here: the result of a tile was lost 3 times"):
        all_results([Job("once", lambda _copy: Future("cancelled"))])


def test_an_error_of_the_job_itself_reaches_the_caller():
    other = Future()
    with pytest.raises(ZeroDivisionError):
        all_results(
            [
                Job("other", lambda _copy: other),
                Job("bad", lambda _copy: Future("error", ZeroDivisionError())),
            ]
        )
    assert other.released


def test_a_tile_that_kills_its_workers_is_reported():
    distributed = pytest.importorskip("distributed", reason="the extra `cluster`")
    killed = distributed.KilledWorker("grams_of_tile", None, 3)
    with pytest.raises(InputError, match="smaller --tile"):
        all_results([Job("large", lambda _copy: Future("error", killed))])
