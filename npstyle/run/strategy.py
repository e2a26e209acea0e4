"""How a run fits into memory: tiles, a shorter L-BFGS history, arrays on disk.

The first of these strategies that fits into memory is chosen. They find the same picture up to
rounding (tiles), or up to the effect of a shorter history on the search:

1. The whole picture at once, with a history of 16 steps.
2. The whole picture at once, with ten steps, then five.
3. Tiles of 512 pixels or more, as large as possible, with ten, five or three steps.
4. Smaller tiles, with three steps.

With a scratch folder, the history and the targets of the content loss are files in it and take no
memory. Adam has no history: it goes from the whole picture to tiles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.device import Device, find_device
from npstyle.engine.memory import (
    content_bytes,
    evaluation_bytes,
    forward_bytes,
    guides_bytes,
    strips_bytes,
    with_gaps,
)
from npstyle.errors import InputError
from npstyle.run.machine import Machine
from npstyle.run.settings import Settings
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.memory import history_bytes, vectors_held
from npstyle.tiles.cut import cell
from npstyle.tiles.memory import largest_tile, tile_bytes
from npstyle.tiles.passes import tile_cost

Size = tuple[int, int]

GOOD_TILE = 512
"""Longest side of a tile in pixels below which more than half of the work is on halos. A shorter
history costs less time than smaller tiles."""

CLUSTER_TILE = 1024
"""Longest side in pixels of the tiles that a cluster gets by default."""

SMALLEST_TILE = 96
"""Longest side in pixels of the smallest tile that may be chosen; such tiles take nine times the
work of the whole picture."""

SHORTER_HISTORIES = (10, 5, 3)
"""Steps of L-BFGS history to try where the default does not fit."""

HOPELESS, LITTLE = 20, 10**9
"""A picture that alone takes this many times the memory, or this many times so many bytes, is not
tried in tiles: to go through all of them would take hours."""


@dataclass(frozen=True)
class Strategy:
    """How one scale of a run is computed.

    Attributes
    ----------
    tile : int or None
        Longest side of a tile in pixels; None: the whole picture at once.
    history : int or None
        Steps of L-BFGS history, shortened or on disk; None: the optimiser's default.
    memory : int
        Bytes needed in addition to what the process holds.
    disk : int
        Bytes needed in the scratch folder.
    cost : float
        Work of an evaluation, relative to the whole picture at once.
    """

    tile: int | None
    history: int | None
    memory: int
    disk: int = 0
    cost: float = 1.0


def choose_device(machine: Machine) -> Device:
    """Find the requested device; with a cluster, "auto" is the CPU, since tiles need NumPy."""
    return find_device("cpu" if machine.device == "auto" and machine.cluster else machine.device)


def choose_strategy(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    threads: int,
    machine: Machine,
    memory: int,
) -> Strategy:
    """Choose the first strategy that fits into memory.

    Parameters
    ----------
    bound : BoundNetwork
        On the CPU.
    settings : Settings
    photo : (height, width)
        At the scale in question.
    paintings : sequence of (height, width)
        At the same scale; each may have a region of its own.
    threads : int
    machine : Machine
        `tile`, `scratch` and `cluster` are used.
    memory : int
        Bytes that may be used in addition to what the process holds.

    Returns
    -------
    Strategy
        If none fits, the one that needs the least memory; the caller must compare.

    Raises
    ------
    InputError
        If the requested tile is too small, or the network cannot be computed in tiles.
    """
    needs = _Needs(bound, settings, photo, paintings, threads, machine)
    candidates = needs.strategies(memory)
    found = next(candidates)
    for other in candidates:
        if found.memory <= memory:
            break
        found = other
    if found.tile is None or found.memory > memory:
        return found
    content, style = settings.content_layers, settings.style_layers
    return replace(found, cost=tile_cost(bound, content, style, photo, found.tile))


@dataclass(frozen=True)
class _Needs:
    """What one scale of a run needs, for each strategy.

    The attributes are the arguments of `choose_strategy`.
    """

    bound: BoundNetwork
    settings: Settings
    photo: Size
    paintings: Sequence[Size]
    threads: int
    machine: Machine

    def strategies(self, memory: int) -> Iterator[Strategy]:
        """Yield all strategies for this many bytes, the best first."""
        if (alone := self._pictures()) > HOPELESS * max(memory, LITTLE):
            yield Strategy(None, None, alone)
            return
        tile, cluster = self.machine.tile, self.machine.cluster
        histories = self._histories()
        if cluster is not None:
            if tile == "off":
                raise InputError(
                    "--tile off: a cluster computes tiles; leave out --cluster or --tile"
                )
            side = CLUSTER_TILE if tile == "auto" else tile
            for history in (None, *histories):
                yield Strategy(side, history, *self._search(history))
        elif tile == "off":
            for history in (None, *histories):
                yield self._whole(history)
        elif tile != "auto":
            for history in (None, *histories):
                yield self._tiled(history, tile)
        else:
            for history in (None, *histories[:2]):
                yield self._whole(history)
            *longer, shortest = histories or (None,)
            for history in longer:
                side = self._largest_tile(history, memory)
                if side >= GOOD_TILE:
                    yield self._tiled(history, side)
            yield self._tiled(shortest, self._largest_tile(shortest, memory))

    def _pictures(self) -> int:
        """Return the bytes of the largest picture that is held whole, also with tiles."""
        return max(height * width * 3 * 8 for height, width in (self.photo, *self.paintings))

    def _histories(self) -> tuple[int, ...]:
        """Return the histories to try; a history on disk need not be short."""
        if self.settings.optimizer != "lbfgs":
            return ()
        if self.machine.scratch is not None:
            return (CORRECTIONS,)
        return SHORTER_HISTORIES

    def _whole(self, history: int | None) -> Strategy:
        """Return the strategy of the whole picture at once."""
        vectors = self._vectors(history)
        needed = whole_bytes(
            self.bound, self.settings, self.photo, self.paintings, self.threads, vectors
        )
        return Strategy(None, history, *self._placed(needed, self._history_bytes(history)))

    def _tiled(self, history: int | None, tile: int) -> Strategy:
        """Return the strategy of tiles of this longest side."""
        needed, disk = self._search(history)
        needed += self._strips() + max(
            with_gaps(tile_bytes(self.bound, layers, size, tile)) for layers, size in self._cuts()
        )
        return Strategy(tile, history, needed, disk)

    def _largest_tile(self, history: int | None, memory: int) -> int:
        """Return the largest tile that fits, or the smallest that may be chosen."""
        left = memory - self._search(history)[0] - self._strips()
        smallest = max(SMALLEST_TILE, cell(self.bound.network, self._layers()))
        try:
            found = min(
                largest_tile(self.bound, layers, size, left) for layers, size in self._cuts()
            )
        except InputError:
            return smallest
        return max(found, smallest)

    def _search(self, history: int | None) -> tuple[int, int]:
        """Return the memory and disk space of the search's arrays, targets and guides."""
        picture = self.photo[0] * self.photo[1] * 3 * 8
        # On a cluster the workers keep the targets.
        content, style = self.settings.content_layers, self.settings.style_layers
        targets = 0 if self.machine.cluster else content_bytes(self.bound, content, self.photo)
        guides = len(self.paintings) * guides_bytes(self.bound, style, self.photo)
        return self._placed(
            self._vectors(history) * picture + guides, self._history_bytes(history) + targets
        )

    def _placed(self, memory: int, movable: int) -> tuple[int, int]:
        """Return memory and disk space: `movable` bytes are on disk if there is a folder."""
        return (memory, movable) if self.machine.scratch is not None else (memory + movable, 0)

    def _vectors(self, history: int | None) -> int:
        return vectors_held(self.settings.optimizer, self.settings.iterations, history)

    def _history_bytes(self, history: int | None) -> int:
        return history_bytes(history, self.photo) if history else 0

    def _layers(self) -> list[str]:
        return [*self.settings.content_layers, *self.settings.style_layers]

    def _strips(self) -> int:
        return self.threads * strips_bytes(self.bound, self._layers(), self.photo)

    def _cuts(self) -> list[tuple[list[str], Size]]:
        """Return the pictures to cut into tiles, each with the layers that run on it."""
        style = list(self.settings.style_layers)
        return [(self._layers(), self.photo), *((style, size) for size in self.paintings)]


def whole_bytes(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    threads: int,
    vectors: int,
) -> int:
    """Return the memory of a run on the whole picture: `run_bytes` for the largest painting."""
    return max(
        run_bytes(bound, settings, photo, painting, threads, vectors)
        for painting in paintings or ((0, 0),)
    )


def run_bytes(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    painting: Size,
    threads: int,
    vectors: int,
) -> int:
    """Predict the memory that a run on the whole picture adds to what the process holds, in bytes.

    On a GPU this is the GPU's memory. CuPy's pool cannot use every gap between arrays; a quarter is
    added for that.

    Parameters
    ----------
    bound : BoundNetwork
        The network and the pictures are already loaded and are not counted.
    settings : Settings
    photo, painting : (height, width)
        Sizes after scaling.
    threads : int
        Worker threads, each with a workspace.
    vectors : int
        float64 pictures that the search holds, `npstyle.search.memory.vectors_held`.
    """
    style = settings.style_layers
    wanted = [*settings.content_layers, *style]
    targets = content_bytes(bound, settings.content_layers, photo)
    search = vectors * photo[0] * photo[1] * 3 * 8
    evaluation = evaluation_bytes(bound, wanted, photo)
    painted = forward_bytes(bound, style, painting)
    if bound.engine.ON_GPU:
        return targets + search + with_gaps(max(painted, evaluation))
    peak = max(painted, targets + search + evaluation)
    return peak + threads * strips_bytes(bound, wanted, photo)
