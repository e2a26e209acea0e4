"""Work that is given away: every job is answered once, whoever dies or dawdles.

Dask does a task again if its worker dies. It does not doubt a worker that lives: a machine that
swaps, or hangs with its connections open, would hold up everybody. So a job that has taken much
longer than the median takes up no room any more; when all others are given away, a copy of it
starts, from the caller's own data, and the first answer counts. Until the first copy is done its
worker has nothing new to do, if there are others. A job whose data the cluster has lost starts
again in the same way.

There are no more copies at a time than tiles at other times, and late jobs are not without end
either (`CROWD`): when all machines have become slower, everybody is late, and more work would not
help.

Nothing here waits for the cluster itself: Dask's threads put what they hear into one queue, and
between two looks into it the caller sees to Ctrl-C and to whether the scheduler is still there.
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
from npstyle.tiles.cluster.cluster import TICK, Cluster

if TYPE_CHECKING:
    from distributed import Future

LATE = 3.0
"""A job is late when it has taken this many times the median; the next copy, twice as many."""

HICCUP = 0.5
"""Seconds under which nobody is late; they count as the least median there is."""

LOST = 3
"""Times that a result may be lost."""

CROWD = 3
"""How many times the room jobs may take, late ones with them."""

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
        Given away from the left, two for each worker at a time and as many more as are late. May
        grow between two answers.
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
            cluster.check()
            _give(cluster, jobs, running, spent, news)
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


def _give(
    cluster: Cluster,
    jobs: deque[Job],
    running: dict[Job, None],
    spent: Collection[float],
    news: SimpleQueue[_News],
) -> None:
    """Start jobs, as many as there is room for; if that is none, copies of those that are late."""
    late = []
    if spent:
        now, allowed = time.monotonic(), LATE * max(HICCUP, statistics.median(spent))
        late = [job for job in running if now - job.latest > len(job.copies) * allowed]
        cluster.avoid([future for job in late for future in job.copies])
    room = cluster.room()
    while jobs and len(running) < min(room + len(late), CROWD * room):
        job = jobs.popleft()
        running[job] = None
        _start(job, news)
    if not jobs or len(running) >= CROWD * room:
        copies = sum(len(job.copies) - 1 for job in running)
        for job in late[: max(0, room - copies)]:
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
    if job.failed == LOST:
        raise InputError(
            f"--cluster {cluster.address}: the result of a tile was lost {LOST} times; "
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
