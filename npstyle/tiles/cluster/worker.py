"""What a worker of a cluster does: the passes of `npstyle.tiles.passes`, with what it holds already.

The weights come to a worker once, in a `Seat`. They are not among Dask's own data, of which its
memory manager drops all copies but one whenever nobody waits for them; Dask gives the seat to each
worker of the cluster, and to each that joins later before its first task.

The network of a seat is fed as it is (`fed_as_is`): the caller prepares the input, subtracting
in float64, and sends it in the network's precision, half as many bytes as the pixels' and the very
numbers that it would compute with itself. So comes the gradient back.

A tile has all of a worker's threads, and a worker does one at a time: `npstyle.engine.threads.threads`
and the arena are a process's.
"""

import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from dask.typing import Key
from distributed import Scheduler, Worker, WorkerPlugin, get_worker
from numpy.typing import NDArray

from npstyle.engine.arena import Arena
from npstyle.engine.threads import use_threads
from npstyle.networks.network import Network
from npstyle.tiles.cut import Tile
from npstyle.tiles.passes import Guide, add_grams, tile_activations, tile_gradient, tile_grams
from npstyle.version import __version__

Array = NDArray[Any]

_at_work = threading.Lock()


class Seat(WorkerPlugin):
    """What a worker holds from its first task on: a network, and memory to run it in."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def setup(self, worker: Worker) -> None:
        """Take the seat; Dask calls this on the worker."""
        self._threads = worker.state.nthreads
        self._arena, self._memory = Arena(0), 0

    @contextmanager
    def taken(self, memory: int) -> Iterator[Network]:
        """The network, on all threads of the worker, with an arena of at least this many bytes."""
        with _at_work, use_threads(self._threads):
            if memory > self._memory:
                self._arena, self._memory = Arena(memory), memory
            with self._arena.lent():
                yield self.network


class DeafToInterrupts(WorkerPlugin):
    """For workers on the caller's terminal: Ctrl-C is meant for the caller."""

    def setup(self, worker: Worker) -> None:
        """Dask calls this in the worker's main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def fed_as_is(network: Network) -> Network:
    """The same network for input that is prepared already."""
    return replace(network, channel_order="RGB", mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0))


def installed() -> str:
    """The version of npstyle here."""
    return __version__


def roll_call(dask_scheduler: Scheduler) -> dict[str, tuple[float, list[Key]]]:
    """On the scheduler: each worker's address, seconds since it was heard of, and what it does."""
    now = time.time()
    return {
        worker.address: (now - worker.last_seen, [task.key for task in worker.executing])
        for worker in dask_scheduler.workers.values()
    }


def as_given(value: Any) -> Any:
    """The value: as a task, it travels to the cluster once and among the workers from there."""
    return value


def share_of_grams(
    seat: str, memory: int, fed: Array, tile: Tile, guides: Sequence[Guide]
) -> list[dict[str, Array]]:
    """The first pass over a tile; `fed` is its input, the rest as for `tile_grams`."""
    with _seat(seat).taken(memory) as network:
        shares = tile_grams(network, fed, tile, guides)
        return [{name: np.array(gram) for name, gram in found.items()} for found in shares]


def sum_of_grams(shares: Sequence[Sequence[Mapping[str, Array]]]) -> list[dict[str, Array]]:
    """Shares of several tiles, or sums of them, added up in float64 and in this order."""
    sums: list[dict[str, Array]] = [{} for _ in shares[0]]
    for found in shares:
        add_grams(sums, found)
    return sums


def content_of_tile(
    seat: str, memory: int, fed: Array, tile: Tile, layers: Collection[str]
) -> dict[str, Array]:
    """The content's targets at a tile's own positions, from the photo's input."""
    with _seat(seat).taken(memory) as network:
        return tile_activations(network, fed, tile, layers)


def share_of_gradient(
    seat: str,
    memory: int,
    fed: Array,
    tile: Tile,
    guides: Sequence[Guide],
    slopes: Sequence[Mapping[str, Array]],
    targets: Mapping[str, Array],
    alpha: Mapping[str, float],
) -> tuple[dict[str, float], Array]:
    """The second pass over a tile; the gradient is that at its input, in the network's precision.

    Nothing is lost in it: a network that is fed as it is multiplies by 1 on the way back.
    """
    with _seat(seat).taken(memory) as network:
        contents, gradient = tile_gradient(network, fed, tile, guides, slopes, targets, alpha)
        return contents, np.array(gradient, network.dtype)


def _seat(name: str) -> Seat:
    seat = get_worker().plugins[name]
    assert isinstance(seat, Seat)
    return seat
