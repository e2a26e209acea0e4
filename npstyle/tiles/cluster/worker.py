"""The tasks that a worker of the cluster runs: the passes of `npstyle.tiles.passes` on one tile.

The network reaches each worker once, as a plugin (`LoadedNetwork`). It is not ordinary Dask data,
because Dask's memory manager drops all replicas but one of any data that no task is waiting for.
Dask installs a plugin on every worker, and on a worker that joins later before its first task.

The caller preprocesses the pixels itself: it subtracts the mean in float64 and sends the network's
input in the network's precision, half the bytes of the pixels. The worker therefore uses a network
without preprocessing and computes with exactly the numbers that the caller would use. The gradient
comes back in the same precision.

A worker runs one task at a time, on all its threads, because the thread pool of
`npstyle.engine.threads` and the arena belong to the whole process.
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

from npstyle import __version__
from npstyle.engine.arena import Arena
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.device import missing_loops
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.tiles.cut import Tile
from npstyle.tiles.passes import Guide, tile_activations, tile_gradient, tile_grams

_one_at_a_time = threading.Lock()


class LoadedNetwork(WorkerPlugin):
    """A network on a worker, with the memory to run it.

    Parameters
    ----------
    bound : BoundNetwork
        On the CPU. Its preprocessing is left out. A worker without Numba runs it without compiled
        loops.
    """

    def __init__(self, bound: BoundNetwork) -> None:
        self._network = replace(
            bound.network, channel_order="RGB", mean=(0.0,) * 3, scale=(1.0,) * 3
        )
        self._layers, self._dtype = bound.layers, bound.dtype
        self._compiled = bound.engine_name == "cpu.compiled"

    def setup(self, worker: Worker) -> None:
        """Bind the network. Dask calls this on the worker."""
        engine_name = "cpu.compiled" if self._compiled and not missing_loops() else "cpu"
        self._bound = BoundNetwork(self._network, self._layers, self._dtype, engine_name)
        self._threads = worker.state.nthreads
        self._arena, self._memory = Arena(0), 0

    @contextmanager
    def ready(self, memory: int) -> Iterator[BoundNetwork]:
        """Yield the network, with all the worker's threads and an arena of `memory` bytes or more.

        Tasks that arrive in the meantime wait.
        """
        with _one_at_a_time, use_threads(self._threads):
            if memory > self._memory:
                self._arena, self._memory = Arena(memory), memory
            with self._arena.lent():
                yield self._bound


class IgnoreInterrupts(WorkerPlugin):
    """Ignore Ctrl-C, for workers that share the caller's terminal."""

    def setup(self, worker: Worker) -> None:
        """Ignore the signal. Dask calls this in the worker's main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def installed_version() -> str:
    """Return the version of npstyle in this process."""
    return __version__


def heartbeat(dask_scheduler: Scheduler) -> dict[str, tuple[float, list[Key]]]:
    """Return the state of every worker. Runs on the scheduler.

    Returns
    -------
    dict
        By worker address, the seconds since its last heartbeat and the keys of the tasks that it
        executes.
    """
    now = time.time()
    return {
        worker.address: (now - worker.last_seen, [task.key for task in worker.executing])
        for worker in dask_scheduler.workers.values()
    }


def identity(value: Any) -> Any:
    """Return the value. As a task it is sent once, and the workers pass it to each other."""
    return value


def grams_of_tile(
    plugin: str, memory: int, image: Array, tile: Tile, guides: Sequence[Guide]
) -> list[dict[str, Array]]:
    """Run the first pass over a tile.

    Parameters
    ----------
    plugin : str
        Name of the `LoadedNetwork`.
    memory : int
        Size of the arena, in bytes.
    image : array (height, width, 3)
        Network input of the tile, with its halo.
    tile, guides
        As for `npstyle.tiles.passes.tile_grams`.
    """
    with _loaded(plugin).ready(memory) as bound:
        found = tile_grams(bound, image, tile, guides)
        return [{name: np.array(gram) for name, gram in grams.items()} for grams in found]


def content_of_tile(
    plugin: str, memory: int, image: Array, tile: Tile, layers: Collection[str]
) -> dict[str, Array]:
    """Return the content targets at a tile's own positions; `image` is the photo's input."""
    with _loaded(plugin).ready(memory) as bound:
        return tile_activations(bound, image, tile, layers)


def gradient_of_tile(
    plugin: str,
    memory: int,
    image: Array,
    tile: Tile,
    guides: Sequence[Guide],
    slopes: Sequence[Mapping[str, Array]],
    targets: Mapping[str, Array],
    alpha: Mapping[str, float],
) -> tuple[dict[str, float], Array]:
    """Run the second pass over a tile.

    Returns the content losses and the gradient at the network's input, in the network's precision.
    The conversion loses nothing: without preprocessing, the last backward step multiplies by 1.
    """
    with _loaded(plugin).ready(memory) as bound:
        contents, gradient = tile_gradient(bound, image, tile, guides, slopes, targets, alpha)
        return contents, np.array(gradient, bound.dtype)


def _loaded(plugin: str) -> LoadedNetwork:
    loaded = get_worker().plugins[plugin]
    assert isinstance(loaded, LoadedNetwork)
    return loaded
