"""Work that is given away: every job is answered once, whoever dies or dawdles.

Dask does a task again if its worker dies. It does not doubt a worker that lives: a machine that
swaps, or hangs with its connections open, would hold up everybody. So when all jobs are given away
and one has taken much longer than the median, a copy of it starts, from the caller's own data,
and the first answer counts. A job whose data the cluster has lost starts again in the same way.

Nothing here waits for the cluster itself: Dask's threads put what they hear into one queue, and
between two looks into it the caller sees to Ctrl-C and to whether the scheduler is still there.
"""

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from npstyle.cluster import TICK, Cluster
from npstyle.errors import InputError

if TYPE_CHECKING:
    from distributed import Future

LATE = 3.0
"""A job is late when it has taken this many times the median."""

HICCUP = 0.5
"""Seconds under which nobody is late; they count as the least median there is."""

COPIES = 3
"""Of a job, the first one with them."""

FETCH = 60.0
"""Seconds that a result may take from its worker to the caller."""


@dataclass(eq=False)
class Job:
    """Something to be done on the cluster.

    Attributes
    ----------
    name : any
        For the caller.
    start : callable
        From the number of copies started before to a future. A copy must not depend on what the
        first one had from other tasks.
    fetched : bool
        Whether the answer is the result; else the future, and the result stays on the cluster.
    """

    name: Any
    start: "Callable[[int], Future[Any]]"
    fetched: bool = True
    copies: "list[Future[Any]]" = field(default_factory=list, init=False)
    failed: int = field(default=0, init=False)
    begun: float = field(default=0.0, init=False)
    latest: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class _News:
    """A future has settled; or it had, and has been fetched or not."""

    job: Job
    future: "Future[Any]"
    value: Any = None
    fetched: bool = False
    failure: BaseException | None = None


def answers(cluster: Cluster, jobs: deque[Job], spent: deque[float]) -> Generator[tuple[Any, Any]]:
    """Have jobs done; to be closed, which lets go of those that are not.

    Parameters
    ----------
    cluster : Cluster
    jobs : deque of Job
        Given away from the left, two for each worker at a time. May grow between two answers.
    spent : deque of float
        The seconds that jobs like these have taken: grows, and may outlive the call.

    Yields
    ------
    name, answer
        In the order in which they come.

    Raises
    ------
    InputError
        If the scheduler is lost, no worker is left, or the workers die over a job.
    Exception
        What a job itself raised.
    KeyboardInterrupt
        If Ctrl-C was pressed.
    """
    news: SimpleQueue[_News] = SimpleQueue()
    running: dict[Job, None] = {}  # in order
    try:
        while jobs or running:
            while jobs and len(running) < cluster.room():
                job = jobs.popleft()
                running[job] = None
                _start(job, news)
            cluster.check()
            if not jobs:
                _copy_late_ones(cluster, running, spent, news)
            try:
                found = news.get(timeout=TICK)
            except Empty:
                continue
            if found.job in running and (found.fetched or _is_answer(cluster, found, news)):
                del running[found.job]
                spent.append(time.monotonic() - found.job.begun)
                _let_go(cluster, found.job, None if found.fetched else found.future)
                yield found.job.name, found.value if found.fetched else found.future
    finally:
        for job in running:
            _let_go(cluster, job)


def _start(job: Job, news: SimpleQueue[_News]) -> None:
    job.latest = time.monotonic()
    if not job.copies:
        job.begun = job.latest
    future = job.start(len(job.copies))
    job.copies.append(future)
    future.add_done_callback(lambda settled: news.put(_News(job, settled)))


def _copy_late_ones(
    cluster: Cluster, running: dict[Job, None], spent: deque[float], news: SimpleQueue[_News]
) -> None:
    allowed = LATE * max(HICCUP, statistics.median(spent)) if spent else math.inf
    now = time.monotonic()
    late = [job for job in running if now - job.latest > allowed and len(job.copies) < COPIES]
    if late:
        cluster.avoid([future for job in late for future in job.copies])
    for job in late:
        _start(job, news)


def _is_answer(cluster: Cluster, found: _News, news: SimpleQueue[_News]) -> bool:
    """Whether a future has what was asked for; if it has but must be fetched, that begins."""
    job, future, failure = found.job, found.future, found.failure
    if failure is None and future.status == "finished":
        if job.fetched:
            threading.Thread(target=_fetch, args=(job, future, news), daemon=True).start()
        return not job.fetched
    if failure is None and future.status == "error":
        raise _explained(cluster, future.exception())
    cluster.check()
    job.failed += 1
    if job.failed == COPIES:
        raise InputError(
            f"--cluster {cluster.address}: the result of a tile was lost {COPIES} times; "
            "look into the workers' logs"
        ) from failure
    if job.failed == len(job.copies):
        _start(job, news)
    return False


def _fetch(job: Job, future: "Future[Any]", news: SimpleQueue[_News]) -> None:
    try:
        news.put(_News(job, future, future.result(timeout=FETCH), fetched=True))
    except BaseException as failure:
        news.put(_News(job, future, failure=failure))


def _explained(cluster: Cluster, error: BaseException | None) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return InputError(
            f"--cluster {cluster.address}: worker after worker died over the same tile, as they do "
            "when memory is short; use a smaller --tile or give the workers more memory"
        )
    assert error is not None
    return error


def _let_go(cluster: Cluster, job: Job, kept: "Future[Any] | None" = None) -> None:
    for future in job.copies:
        if future is not kept:
            cluster.let_go(future)
    job.copies.clear()
