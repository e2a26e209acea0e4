"""Several machines: the tiles of a picture on a Dask cluster.

`connect` gives a `Cluster`, and `npstyle.tiles.objective.TiledObjective` gives it the tiles. What
is sent and added up is `npstyle.tiles.cluster.tiles`' matter, what a worker does
`npstyle.tiles.cluster.worker`'s, and who dies or dawdles `npstyle.tiles.cluster.jobs`'. This chapter speaks
with Dask: every wait has an end, is open to Ctrl-C, and finds out if the scheduler is gone.

Dask unpickles what its peers send: connect only to a cluster that you trust, and let it speak TLS
(`tls://`, set up by Dask's own configuration) where others could listen or speak.

How far it goes, on paper
-------------------------
With VGG-19, the five style layers and conv4_2, an evaluation multiplies 3.6e5 times per pixel
forward, and as often backward; with the first pass and the halos (1.34 times the pixels at tiles of
1024) that is 1.45e6. A machine of two cores takes about 10 s per megapixel
(`tools/benchmark_tiles.py`).

What travels for each pixel of a float32 tile: its input for each pass and its gradient back, three
times 12 bytes, 48 with the halos. The Gram matrices are 6.1e5 numbers, 4.9 MB as sums in float64:
they are added up among the workers, and the caller has one for sixteen tiles, 0.3 bytes per pixel;
their differences go to each worker once, 2.4 MB. The content's targets stay where they are; to make
those of a lost worker again, Dask's scheduler keeps the photo's tiles, 16 bytes per pixel with the
halos.

An evaluation on workers of two such cores, and what the caller's link of 10 Gbit/s needs for it:

==========  =========  ==========  ===========  ============  ======
gigapixels  1 worker   10 workers  100 workers  1000 workers  link
==========  =========  ==========  ===========  ============  ======
1           2.8 h      17 min      1.7 min      10 s          38 s
10          28 h       2.8 h       17 min       1.7 min       6 min
100         12 days    28 h        2.8 h        17 min        64 min
==========  =========  ==========  ===========  ============  ======

So the link is the end of it at some 260 workers, whatever the picture. Before that the caller's
memory may be: the pixels, the gradient and the search take 264 bytes per pixel beside the pairs,
which can live on disk: 0.26 TB for a gigapixel; and from ten gigapixels on the scheduler's, 0.16 TB
there. Further on, the search itself would have to be cut up: its pictures would stay with the
tiles' workers, and of `npstyle.search.lbfgs` only the inner products, some twenty numbers per step, would
travel, and the halos from neighbour to neighbour.

Measured on one machine of two cores (`tools/benchmark_cluster.py`, 1024x768, one thread each): with
the built-in network and tiles of 256 one worker took 1.34 times as long as no cluster, and two were
1.61 times as fast as one; with VGG-19 and tiles of 512 it was 1.15 and 1.67 times. The gradients
were 3e-18 apart at most. (The losses always have the same bits. Gradients are added up as they
arrive: where halos overlap, float64's rounding may differ.)
"""

import logging
import re
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.errors import InputError
from npstyle.networks.network import Network
from npstyle.version import __version__

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client, Future

T = TypeVar("T")

LOCAL = "local:"
"""What the address of workers on this machine begins with."""

TICK = 0.1
"""Seconds between two looks at whether all is well."""

CONNECT = 10.0
"""Seconds in which a scheduler must answer, and must have a worker."""

MUSTER = 20.0
"""Seconds in which every worker must say which npstyle it has."""

SILENCE = 30.0
"""Seconds without an answer after which a scheduler is held to be lost."""

UNSEEN = 20.0
"""Seconds without a sign of life, of which a worker gives one every few, until it is avoided."""

DESERTED = 60.0
"""Seconds that a cluster may be without workers: Dask starts new ones in a few."""

SEATING = 600.0
"""Seconds that weights may take to all workers."""


class Cluster:
    """A Dask cluster that tiles are given to; `connect` makes one from an address.

    Parameters
    ----------
    client : distributed.Client
        Connected. Who made it closes it, after this.
    address : str
        What the user calls it, for messages.

    Raises
    ------
    InputError
        If the scheduler does not answer or has no workers, or npstyle is another one there.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self.client, self.address = client, address
        self._closed = threading.Event()
        self._seats: dict[str, weakref.ref[Network]] = {}
        self._dawdlers: set[Future[Any]] = set()
        self._everybody, self._workers = 0, list[str]()
        self._executing: dict[Key, str] = {}
        self._heard = self._staffed = time.monotonic()
        try:
            self._await_workers()
            self._check_versions()
        except OSError as error:
            raise self._lost() from error
        threading.Thread(target=self._watch, daemon=True).start()

    def _await_workers(self) -> None:
        end = time.monotonic() + CONNECT
        while not self._answer(self.client.nthreads, CONNECT):
            if time.monotonic() > end:
                raise InputError(
                    f"--cluster {self.address}: the scheduler has no workers; "
                    "start some with `dask worker`"
                )
            time.sleep(TICK)
        self._heard = time.monotonic()

    def _check_versions(self) -> None:
        from npstyle.tiles.cluster.worker import installed

        def ask() -> dict[str, Any]:
            there: dict[str, Any] = self.client.run(installed, on_error="return")
            try:
                return {"the scheduler": self.client.run_on_scheduler(installed), **there}
            except ImportError as error:
                return {"the scheduler": error}

        try:
            everywhere = self._answer(ask, MUSTER)
        except TimeoutError as error:
            raise InputError(
                f"--cluster {self.address}: not every worker answers within {MUSTER:.0f} s; "
                "look after those that hang"
            ) from error
        for who, found in everywhere.items():
            if found != __version__:
                has = f"version {found}" if isinstance(found, str) else f"it not ({found})"
                raise InputError(
                    f"--cluster {self.address}: npstyle here is version {__version__}, and {who} "
                    f"has {has}; install the same there"
                )
        self._answer(self._call_roll, CONNECT)

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            with suppress(Exception):  # what counts is when the scheduler answered last
                self._call_roll()

    def _call_roll(self) -> None:
        """Ask who is there and what they do; the answer is also the scheduler's pulse."""
        from npstyle.tiles.cluster.worker import roll_call

        roll = self.client.run_on_scheduler(roll_call)
        self._workers = [who for who, (unseen, _) in roll.items() if unseen < UNSEEN] or list(roll)
        self._everybody = len(roll)
        self._executing = {key: who for who, (_, keys) in roll.items() for key in keys}
        self._heard = time.monotonic()
        if roll:
            self._staffed = self._heard

    def check(self) -> None:
        """KeyboardInterrupt after Ctrl-C, InputError if the scheduler or all workers are gone.

        To be called again and again while something is waited for.
        """
        raise_if_interrupted()
        now = time.monotonic()
        if self.client.status != "running" or now - self._heard > SILENCE:
            raise self._lost()
        if now - self._staffed > DESERTED:
            raise InputError(
                f"--cluster {self.address}: no worker is left; start some with `dask worker`, with "
                "a smaller --tile if memory was short, and go on from the last checkpoint"
            )

    def _lost(self) -> InputError:
        return InputError(
            f"--cluster {self.address}: the scheduler does not answer any more; "
            "start the cluster again and go on from the last checkpoint"
        )

    def room(self) -> int:
        """How many tiles to give away at a time: each worker computes one and has one to go on."""
        return 2 * max(1, len(self._workers))

    def submit(self, function: Callable[..., T], *arguments: Any, priority: int = 0) -> "Future[T]":
        """Have the cluster call a function; futures among the arguments become their results."""
        slow = {self._executing.get(late.key) for late in list(self._dawdlers)}
        others = [worker for worker in self._workers if worker not in slow]
        if len(others) == self._everybody:
            others = []  # no need to choose
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # a tile's pixels are
            return self.client.submit(
                function,
                *arguments,
                pure=False,
                priority=priority,
                workers=others or None,
                allow_other_workers=bool(others),
            )

    def avoid(self, late: "Collection[Future[Any]]") -> None:
        """Give nothing to the workers that execute these, if others are there, until they settle.

        A task may also be late because it waits in a queue, or for another's result.
        """
        for future in late:
            if future not in self._dawdlers:
                self._dawdlers.add(future)
                future.add_done_callback(self._dawdlers.discard)

    def let_go(self, future: "Future[Any]") -> None:
        """Have Dask forget a task, and take it back from its worker if it has not begun.

        One that is late is let go when it settles: to a scheduler that had forgotten it, its worker
        would look idle.
        """
        if future not in self._dawdlers:
            future.release()

    def seat(self, network: Network) -> str:
        """The name of the `npstyle.tiles.cluster.worker.Seat` for a network, which is sent if need be.

        It stays with the workers as long as the network is in use here.

        Raises
        ------
        InputError
            If it cannot be sent to all workers.
        """
        from npstyle.tiles.cluster.worker import Seat, fed_as_is

        for name, known in list(self._seats.items()):
            if known() is network:
                return name
            if known() is None:
                self._leave(name)
        name = f"npstyle-{uuid.uuid4().hex}"
        self._seats[name] = weakref.ref(network)
        plugin = Seat(fed_as_is(network))
        try:
            self._answer(lambda: self.client.register_plugin(plugin, name=name), SEATING)
        except OSError as error:
            raise InputError(
                f"--cluster {self.address}: the weights did not reach every worker ({error}); "
                "look into the workers' logs"
            ) from error
        return name

    def _leave(self, seat: str) -> None:
        del self._seats[seat]
        with suppress(OSError, ValueError):  # a scheduler or a worker that is lost has left
            self._answer(lambda: self.client.unregister_worker_plugin(seat), CONNECT)

    def _answer(self, call: Callable[[], T], seconds: float) -> T:
        """What a call of Dask's returns or raises; TimeoutError if it takes too long.

        Many of them wait without end for a machine that hangs, and deaf to Ctrl-C.
        """
        answer: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def ask() -> None:
            try:
                answer.put((call(), None))
            except BaseException as error:
                answer.put((None, error))

        end = time.monotonic() + seconds
        threading.Thread(target=ask, daemon=True).start()
        while True:
            self.check()
            try:
                value, error = answer.get(timeout=TICK)
            except Empty:
                if time.monotonic() > end:
                    raise TimeoutError(f"no answer within {seconds:.0f} s") from None
                continue
            if error is not None:
                raise error
            return value  # type: ignore[return-value]

    def close(self) -> None:
        """Take back what the workers hold. The client stays open."""
        self._closed.set()
        self._dawdlers.clear()
        for seat in list(self._seats):
            with suppress(InputError):
                self._leave(seat)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """A cluster, for as long as the context lasts.

    Parameters
    ----------
    address : str
        `host:port` or `tcp://host:port` of a Dask scheduler (`tls://` too, see above), the path of
        its scheduler file, or `local:N` for N worker processes on this machine, of one thread
        each, to try it out. A script that asks for these must have its work under
        `if __name__ == "__main__":`, as with all of Python's processes.

    Raises
    ------
    InputError
        If `distributed` is not installed, the address is none, nobody answers there, or as for
        `Cluster`.
    """
    try:
        from distributed import Client
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise InputError(
            "--cluster: Dask's distributed is not installed; pip install 'npstyle[cluster]'"
        ) from error
    with ExitStack() as stack:
        # What matters of Dask's log is raised here, in one sentence.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        where = _whereabouts(address, stack)
        try:
            client = Client(**where, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--cluster {address}: no scheduler answers there; start one with `dask scheduler` "
                "or correct the address"
            ) from error
        stack.callback(_close, client)
        if address.startswith(LOCAL):
            from npstyle.tiles.cluster.worker import DeafToInterrupts

            client.register_plugin(DeafToInterrupts())
        yield stack.enter_context(closing(Cluster(client, address)))


def _whereabouts(address: str, stack: ExitStack) -> dict[str, Any]:
    """What Dask's client calls an address."""
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
            memory_limit=None,  # the default would stop workers that the tile was chosen for
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
    with suppress(OSError):  # too late, for a scheduler that is lost
        client.close(timeout=CONNECT)
