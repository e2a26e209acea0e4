"""The connection to a Dask cluster.

`connect` opens a `Cluster`, and `npstyle.tiles.objective.TiledObjective` runs its tiles there.
Every wait has a time limit, responds to Ctrl-C, and notices a lost scheduler.

Dask unpickles what its peers send. Connect only to a cluster that you trust. If others could read
or write on the network, use TLS (`tls://`, set up in Dask's own configuration).
"""

import logging
import re
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Iterator
from concurrent import futures
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from npstyle import __version__
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.errors import InputError

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client, Future

T = TypeVar("T")

LOCAL = "local:"
"""Prefix of an address that asks for workers on this machine."""

LARGE_GRAPH = "distributed.admin.large-graph-warning-threshold"
"""Dask's setting: size of a task's arguments above which it warns."""

POLL_INTERVAL = 0.1
"""Seconds between two checks for Ctrl-C and for a lost scheduler, while the caller waits."""

CONNECT_TIMEOUT = 10.0
"""Seconds within which a scheduler must answer and must have a worker."""

VERSION_TIMEOUT = 20.0
"""Seconds within which every worker must report its version of npstyle."""

LOAD_TIMEOUT = 600.0
"""Seconds for the transfer of a network to all workers."""

SCHEDULER_TIMEOUT = 30.0
"""Seconds without an answer after which the scheduler counts as lost."""

WORKER_TIMEOUT = 20.0
"""Seconds without a heartbeat after which a worker receives no new tasks.

Dask's workers send a heartbeat at least every few seconds.
"""

NO_WORKERS_TIMEOUT = 60.0
"""Seconds without any worker after which the run ends; Dask replaces a dead worker in a few."""


class Cluster:
    """A connected Dask cluster; `connect` opens one from an address.

    Parameters
    ----------
    client : distributed.Client
        Connected. The caller closes it, after this object.
    address : str
        The address given by the user, for messages.

    Raises
    ------
    InputError
        If the scheduler does not answer or has no workers, or if npstyle is missing or has another
        version there.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self.client, self.address = client, address
        self._closed = threading.Event()
        self._loaded: dict[str, weakref.ref[BoundNetwork]] = {}
        self._stragglers: set[Future[Any]] = set()
        self._worker_count, self._responsive = 0, list[str]()
        self._executing: dict[Key, str] = {}
        self._last_answer = self._last_staffed = time.monotonic()
        try:
            self._wait_for_a_worker()
            self._check_versions()
            self._call(self._update, CONNECT_TIMEOUT)
        except OSError as error:
            raise self._lost() from error
        threading.Thread(target=self._monitor, daemon=True).start()

    def _wait_for_a_worker(self) -> None:
        limit = CONNECT_TIMEOUT
        try:
            self._call(lambda: self.client.wait_for_workers(1, timeout=limit), 2 * limit)
        except TimeoutError as error:
            raise InputError(
                f"--cluster {self.address}: the scheduler has no workers; "
                "start some with `dask worker`"
            ) from error
        self._last_answer = time.monotonic()

    def _check_versions(self) -> None:
        # Client.get_versions reads package metadata, which a source checkout does not have.
        from npstyle.tiles.cluster.worker import installed_version

        def ask() -> dict[str, Any]:
            workers: dict[str, Any] = self.client.run(installed_version, on_error="return")
            try:
                return {"the scheduler": self.client.run_on_scheduler(installed_version), **workers}
            except ImportError as error:
                return {"the scheduler": error}

        try:
            versions = self._call(ask, VERSION_TIMEOUT)
        except TimeoutError as error:
            raise InputError(
                f"--cluster {self.address}: not every worker answers within "
                f"{VERSION_TIMEOUT:.0f} s; restart those that hang"
            ) from error
        for machine, found in versions.items():
            if found != __version__:
                has = f"has version {found}" if isinstance(found, str) else f"lacks it ({found})"
                raise InputError(
                    f"--cluster {self.address}: npstyle here is version {__version__}, but "
                    f"{machine} {has}; install the same version there"
                )

    def _monitor(self) -> None:
        while not self._closed.wait(1.0):
            with suppress(Exception):  # `check` looks at the time of the last answer
                self._update()

    def _update(self) -> None:
        """Ask the scheduler for its workers' tasks. Dask's client does not notice if it hangs."""
        from npstyle.tiles.cluster.worker import heartbeat

        workers = self.client.run_on_scheduler(heartbeat)
        responsive = [name for name, (silence, _) in workers.items() if silence < WORKER_TIMEOUT]
        self._worker_count, self._responsive = len(workers), responsive or list(workers)
        self._executing = {key: name for name, (_, keys) in workers.items() for key in keys}
        self._last_answer = time.monotonic()
        if workers:
            self._last_staffed = self._last_answer

    def check(self) -> None:
        """Raise an error if the run cannot go on. Call it repeatedly while waiting.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C.
        InputError
            If the scheduler or all workers are lost.
        """
        raise_if_interrupted()
        now = time.monotonic()
        if self.client.status != "running" or now - self._last_answer > SCHEDULER_TIMEOUT:
            raise self._lost()
        if now - self._last_staffed > NO_WORKERS_TIMEOUT:
            raise InputError(
                f"--cluster {self.address}: no worker is left; start some with `dask worker`, with "
                "a smaller --tile if memory was short, and resume from the last checkpoint"
            )

    def _lost(self) -> InputError:
        return InputError(
            f"--cluster {self.address}: the scheduler does not answer any more; "
            "start the cluster again and resume from the last checkpoint"
        )

    def capacity(self) -> int:
        """Return the number of tiles to submit at a time: each worker runs one and queues one."""
        return 2 * max(1, len(self._responsive))

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Submit a call, which may take futures as arguments, to workers without stragglers."""
        slow = {self._executing.get(future.key) for future in list(self._stragglers)}
        preferred = [worker for worker in self._responsive if worker not in slow]
        if len(preferred) == self._worker_count:
            preferred = []  # no preference
        return self.client.submit(
            function,
            *arguments,
            pure=False,
            workers=preferred or None,
            allow_other_workers=bool(preferred),
        )

    def avoid(self, stragglers: "Collection[Future[Any]]") -> None:
        """Submit nothing to workers that execute these tasks until the tasks settle.

        A task may also be late because it is queued or waits for another task's result. Its worker
        is not avoided. If all workers execute stragglers, none is.
        """
        for future in stragglers:
            if future not in self._stragglers:
                self._stragglers.add(future)
                future.add_done_callback(self._stragglers.discard)

    def release(self, future: "Future[Any]") -> None:
        """Release a task; Dask cancels it if it has not started.

        A straggler is released later, when it settles: if the scheduler had forgotten the task, it
        would treat the worker as idle.
        """
        if future not in self._stragglers:
            future.release()

    def load(self, bound: BoundNetwork) -> str:
        """Send a network to all workers, unless they have it.

        It stays there while the caller holds a reference to it.

        Returns
        -------
        str
            Name of the plugin, a `npstyle.tiles.cluster.worker.LoadedNetwork`.

        Raises
        ------
        InputError
            If the network does not reach every worker.
        """
        from npstyle.tiles.cluster.worker import LoadedNetwork

        for name, known in list(self._loaded.items()):
            if known() is bound:
                return name
            if known() is None:
                self._unload(name)
        name = f"npstyle-{uuid.uuid4().hex}"
        self._loaded[name] = weakref.ref(bound)
        plugin = LoadedNetwork(bound)
        try:
            self._call(lambda: self.client.register_plugin(plugin, name=name), LOAD_TIMEOUT)
        except OSError as error:
            raise InputError(
                f"--cluster {self.address}: the weights did not reach every worker ({error}); "
                "look into the workers' logs"
            ) from error
        return name

    def _unload(self, name: str) -> None:
        del self._loaded[name]
        with suppress(OSError, ValueError):  # the scheduler or a worker is already gone
            self._call(lambda: self.client.unregister_worker_plugin(name), CONNECT_TIMEOUT)

    def _call(self, function: Callable[[], T], seconds: float) -> T:
        """Call a blocking function of Dask's client; raise TimeoutError if it takes too long.

        Many of them wait forever for a machine that hangs, and do not respond to Ctrl-C. The thread
        is a daemon because it may never end; a ThreadPoolExecutor would hold up Python's exit.
        """
        answer: futures.Future[T] = futures.Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        end = time.monotonic() + seconds
        while not futures.wait([answer], POLL_INTERVAL).done:
            self.check()
            if time.monotonic() > end:
                raise TimeoutError(f"no answer within {seconds:.0f} s")
        return answer.result()

    def close(self) -> None:
        """Remove the networks from the workers. The client stays open."""
        self._closed.set()
        self._stragglers.clear()
        for name in list(self._loaded):
            with suppress(InputError):
                self._unload(name)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a cluster for the duration of the context.

    Parameters
    ----------
    address : str
        `host:port` or `tcp://host:port` of a Dask scheduler (or `tls://`, see above), the path of
        its scheduler file, or `local:N` to start N worker processes on this machine with one thread
        each, for a trial. A script that uses `local:N` must put its work under
        `if __name__ == "__main__":`, as always with processes in Python.

    Raises
    ------
    InputError
        If `distributed` is not installed, the address is invalid, or no scheduler answers there;
        also as for `Cluster`.
    """
    try:
        import dask
        from distributed import Client
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise InputError(
            "--cluster: Dask's distributed is not installed; pip install 'npstyle[cluster]'"
        ) from error
    with ExitStack() as stack:
        # npstyle reports the problems that matter itself, in one sentence.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        # Dask warns about tasks with large arguments, but a tile's pixels are needed only once.
        stack.enter_context(dask.config.set({LARGE_GRAPH: "1 TB"}))
        location = _location(address, stack)
        try:
            client = Client(**location, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--cluster {address}: no scheduler answers there; start one with `dask scheduler` "
                "or correct the address"
            ) from error
        stack.callback(_close, client)
        if address.startswith(LOCAL):
            from npstyle.tiles.cluster.worker import IgnoreInterrupts

            client.register_plugin(IgnoreInterrupts())
        yield stack.enter_context(closing(Cluster(client, address)))


def _location(address: str, stack: ExitStack) -> dict[str, Any]:
    """Return the arguments of `distributed.Client` for an address; start local workers."""
    if address.startswith(LOCAL):
        from distributed import LocalCluster

        count = address.removeprefix(LOCAL)
        if not count.isdecimal() or int(count) < 1:
            raise InputError(f"--cluster {address}: give a number of workers, as in local:2")
        local = LocalCluster(
            n_workers=int(count),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",  # any free port
            memory_limit=None,  # the default limit would kill workers although the tile fits
            silence_logs=logging.CRITICAL,
        )
        return {"address": stack.enter_context(local)}
    if Path(address).is_file():
        return {"scheduler_file": address}
    if not re.fullmatch(r"(\w+://)?\S+:\d+", address):
        raise InputError(
            f"--cluster {address}: is neither host:port nor a scheduler file nor local:N; "
            "give one of these"
        )
    return {"address": address}


def _close(client: "Client") -> None:
    with suppress(OSError):  # the scheduler may be lost already
        client.close(timeout=CONNECT_TIMEOUT)
