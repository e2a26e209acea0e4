"""Run jobs on the cluster: each gives one result, even if workers die or stall.

Dask itself runs a task again when its worker dies. It waits for a worker that is alive, so a
machine that swaps, or hangs with its connections open, would hold up the whole step. This module
solves that. A job that has run much longer than the median is a straggler. It no longer
counts against the capacity of the cluster. Once no other job is left to start, a copy of it starts
from the caller's own data, and the first result counts. Until the straggling task settles, its
worker receives no new tasks if there are other workers. A job whose data the cluster has lost is
started again in the same way.

The number of copies is limited to the capacity, and so is the number of stragglers
(`MAX_LOAD`): when all machines have become slower, every job is a straggler, and more work would
not help.

The loop waits on a queue of its own rather than on `distributed.as_completed`. That iterator has no
timeout between two results, so the loop could not check for Ctrl-C and for a lost scheduler. It
also drops a result whose transfer fails, without an error. Dask's `retries` would repeat tasks that
raise an exception, but such exceptions are final.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from npstyle.errors import InputError
from npstyle.tiles.cluster.cluster import POLL_INTERVAL, Cluster

if TYPE_CHECKING:
    from distributed import Future

STRAGGLER = 3.0
"""A job is a straggler after this many medians; each further copy starts as many medians later."""

SHORTEST_MEDIAN = 0.5
"""Seconds. A shorter median counts as this, so that brief delays make no stragglers."""

MAX_LOST = 3
"""Losses of one job's result after which the run ends with an error."""

MAX_LOAD = 3
"""Limit of the running jobs, stragglers included, in multiples of the capacity."""

FETCH_TIMEOUT = 60.0
"""Seconds for the transfer of a result to the caller, after which the result counts as lost."""


@dataclass(eq=False)
class Job:
    """Work for the cluster.

    Attributes
    ----------
    name : any
        Identifies the job to the caller.
    start : callable
        Submits the job: takes the number of copies started before and returns a future. A copy must
        not depend on results of other tasks that the first attempt used.
    """

    name: Any
    start: "Callable[[int], Future[Any]]"
    copies: "list[Future[Any]]" = field(default_factory=list, init=False)
    lost: int = field(default=0, init=False)
    started: float = field(default=0.0, init=False)
    last_started: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class _Outcome:
    """The result of a settled future, or the error raised by the task or by the transfer."""

    job: Job
    future: "Future[Any]"
    value: Any = None
    error: BaseException | None = None


def results(
    cluster: Cluster, jobs: deque[Job], durations: deque[float]
) -> Generator[tuple[Any, Any]]:
    """Run jobs and yield their results. Close the generator to release unfinished jobs.

    Parameters
    ----------
    cluster : Cluster
    jobs : deque of Job
        Started from the left, as many at a time as the cluster's capacity, stragglers not counted.
    durations : deque of float
        Seconds that similar jobs took. The generator appends to it; pass it to the next call.

    Yields
    ------
    name, result
        In the order of arrival.

    Raises
    ------
    InputError
        If the scheduler is lost, no worker is left, workers die repeatedly while they run the same
        job, or its result is lost `MAX_LOST` times.
    Exception
        Any error raised by a job itself.
    KeyboardInterrupt
        If Ctrl-C was pressed.
    """
    outcomes: SimpleQueue[_Outcome] = SimpleQueue()
    running: dict[Job, None] = {}  # an ordered set
    try:
        while jobs or running:
            cluster.check()
            _start_jobs(cluster, jobs, running, durations, outcomes)
            try:
                outcome = outcomes.get(timeout=POLL_INTERVAL)
            except Empty:
                continue
            job = outcome.job
            if job not in running:
                continue  # another copy was faster
            if outcome.error is not None:
                _handle_failure(cluster, outcome, outcome.error, outcomes)
                continue
            del running[job]
            durations.append(time.monotonic() - job.started)
            _release(cluster, job)
            yield job.name, outcome.value
    finally:
        for job in running:
            _release(cluster, job)


def _start_jobs(
    cluster: Cluster,
    jobs: deque[Job],
    running: dict[Job, None],
    durations: Collection[float],
    outcomes: SimpleQueue[_Outcome],
) -> None:
    """Start as many jobs as the capacity allows; if no more can start, copies of stragglers."""
    stragglers = []
    if durations:
        now, limit = (
            time.monotonic(),
            STRAGGLER * max(SHORTEST_MEDIAN, statistics.median(durations)),
        )
        stragglers = [job for job in running if now - job.last_started > len(job.copies) * limit]
        cluster.avoid([future for job in stragglers for future in job.copies])
    capacity = cluster.capacity()
    while jobs and len(running) < min(capacity + len(stragglers), MAX_LOAD * capacity):
        job = jobs.popleft()
        running[job] = None
        _start(job, outcomes)
    if not jobs or len(running) >= MAX_LOAD * capacity:
        copies = sum(len(job.copies) - 1 for job in running)
        for job in stragglers[: max(0, capacity - copies)]:
            _start(job, outcomes)


def _start(job: Job, outcomes: SimpleQueue[_Outcome]) -> None:
    job.last_started = time.monotonic()
    if not job.copies:
        job.started = job.last_started
    future = job.start(len(job.copies))
    job.copies.append(future)

    def fetch(settled: "Future[Any]") -> None:
        # One thread each: Dask runs all callbacks in the same one, and a transfer may hang.
        arguments = job, settled, outcomes
        threading.Thread(target=_fetch, args=arguments, daemon=True).start()

    future.add_done_callback(fetch)


def _fetch(job: Job, future: "Future[Any]", outcomes: SimpleQueue[_Outcome]) -> None:
    try:
        outcomes.put(_Outcome(job, future, value=future.result(timeout=FETCH_TIMEOUT)))
    except BaseException as error:
        outcomes.put(_Outcome(job, future, error=error))


def _handle_failure(
    cluster: Cluster, outcome: _Outcome, error: BaseException, outcomes: SimpleQueue[_Outcome]
) -> None:
    """Raise the error of a job itself; start a job again whose copies were all lost."""
    job = outcome.job
    if outcome.future.status == "error":
        raise _explained(cluster, error)
    cluster.check()
    job.lost += 1
    if job.lost == MAX_LOST:
        raise InputError(
            f"--cluster {cluster.address}: the result of a tile was lost {MAX_LOST} times; "
            "look into the workers' logs"
        ) from error
    if job.lost == len(job.copies):
        _start(job, outcomes)


def _explained(cluster: Cluster, error: BaseException) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return InputError(
            f"--cluster {cluster.address}: several workers died while they ran the same tile, "
            "usually because memory ran out; use a smaller --tile or give the workers more memory"
        )
    return error


def _release(cluster: Cluster, job: Job) -> None:
    for future in job.copies:
        cluster.release(future)
    job.copies.clear()
