"""What a run does where memory is short: tiles, fewer history, arrays on disk.

Of the ways below, the first that fits is taken. The pictures that they lead to are the same, to
rounding (tiles, float32 history) or to what a search with fewer history finds:

1. the whole picture at once, SciPy's L-BFGS-B with ten history of float64 pictures,
2. the same with ten history in float32 (`npstyle.search.lbfgs`), then with five,
3. tiles of 512 pixels or more, as large as can be, with ten, five or three history in float32,
4. smaller tiles and three history.

With a folder for scratch, the history and the content's targets are files there, and take no
memory. Adam, which nobody is given who did not ask for it, goes from the whole picture to tiles.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from npstyle.engine import cpu
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.device import Device, find_device
from npstyle.engine.disk import on_disk
from npstyle.engine.memory import (
    content_bytes,
    evaluation_bytes,
    forward_bytes,
    guides_bytes,
    strips_bytes,
    with_gaps,
)
from npstyle.errors import InputError
from npstyle.run.settings import Settings
from npstyle.search.optimize import CORRECTIONS, history_bytes, vectors_held
from npstyle.tiles.cut import cell
from npstyle.tiles.memory import largest_tile, tile_bytes
from npstyle.tiles.passes import tile_cost

Size = tuple[int, int]
TileChoice = int | Literal["auto", "off"]

SHARE = 0.8
"""Of the memory that is free, what a run may take if nobody says."""

GOOD_TILE = 512
"""Smaller tiles spend more than half of their work on halos; fewer history cost less."""

CLUSTER_TILE = 1024
"""Longest side of the tiles that a cluster is given."""

SMALLEST_TILE = 96
"""No smaller tile is chosen: this one takes nine times as long as one piece."""

SHORTER_HISTORIES = (5, 3)
"""m, where ten history do not fit."""

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class MemoryLimits:
    """How much room a run is given.

    Attributes
    ----------
    tile : "auto", "off" or int
        Longest side of a tile in pixels; "auto": tiles only where the whole picture does not fit.
    memory : int, optional
        Peak memory in bytes that the process may reach; `SHARE` of what is free if not given.
    scratch : Path, optional
        A folder for arrays that are as large as the picture.
    cluster : str, optional
        Address of a cluster that the tiles are given to; see
        `npstyle.tiles.cluster.cluster.connect`.
    """

    tile: TileChoice = "auto"
    memory: int | None = None
    scratch: Path | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class Strategy:
    """How one scale of a run is worked on.

    Attributes
    ----------
    tile : int or None
        Longest side of a tile; None: the whole picture at once.
    history : int or None
        m, of float32 history; None: the optimiser as it comes.
    memory : int
        Bytes that this takes on top of what the process holds.
    disk : int
        Bytes in the folder for scratch.
    cost : float
        How many times the work of an evaluation of the whole picture.
    """

    tile: int | None
    history: int | None
    memory: int
    disk: int = 0
    cost: float = 1.0


def parse_tile(text: str) -> TileChoice:
    """Read "auto", "off" or a number of pixels; InputError if it is none."""
    if text in ("auto", "off"):
        return "auto" if text == "auto" else "off"
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise InputError(f"--tile {text}: give auto, off, or a tile's longest side in pixels")
    return int(text)


def parse_memory(text: str) -> int:
    """Read a size such as "4GB", "800 MB" or "3.5GiB" in bytes; InputError if it is none."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if match is None or (match[3] and not match[2]) or float(match[1]) == 0:
        raise InputError(f"--memory {text}: give a size such as 4GB or 800MB")
    unit = UNITS[match[2].upper()]
    return int(float(match[1]) * (2 ** (10 * round(math.log(unit, 1000))) if match[3] else unit))


def parse_limits(
    tile: str = "auto",
    memory: str | None = None,
    scratch: Path | None = None,
    cluster: str | None = None,
) -> MemoryLimits:
    """The room that options give; InputError if one cannot be read, or nothing written there."""
    if scratch is not None:
        on_disk(scratch)
    size = None if memory is None else parse_memory(memory)
    return MemoryLimits(parse_tile(tile), size, scratch, cluster)


def choose_device(device: str, limits: MemoryLimits) -> Device:
    """The device that is asked for; where a cluster runs the tiles, no card is looked for."""
    return find_device("cpu" if device == "auto" and limits.cluster else device)


def choose_strategy(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    threads: int,
    limits: MemoryLimits,
    memory: int,
) -> Strategy:
    """The first way that strategies.

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
    limits : MemoryLimits
    memory : int
        Bytes that may be taken on top of what the process holds.

    Returns
    -------
    Strategy
        If nothing strategies, what takes least: whoever calls compares its memory.

    Raises
    ------
    InputError
        If a tile is asked for that is too small, or a network that cannot be cut.
    """
    ways = _ways(bound, settings, photo, paintings, threads, limits, memory)
    found = next(ways)
    for other in ways:
        if found.memory <= memory:
            break
        found = other
    if found.tile is None or found.memory > memory:
        return found
    content, style = settings.content_layers, settings.style_layers
    return replace(found, cost=tile_cost(bound, content, style, photo, found.tile))


def _ways(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    threads: int,
    limits: MemoryLimits,
    memory: int,
) -> Iterator[Strategy]:
    """All ways, the best first."""
    wanted = [*settings.content_layers, *settings.style_layers]
    strips = threads * strips_bytes(bound, wanted, photo)
    lean = settings.optimizer == "lbfgs"
    picture = photo[0] * photo[1] * 3 * 8
    targets = 0 if limits.cluster else content_bytes(bound, settings.content_layers, photo)
    guides = guides_bytes(bound, settings.style_layers, photo) * len(paintings)

    def held(history: int | None) -> tuple[int, int]:
        """Vectors that the search holds, and bytes of its float32 history."""
        vectors = vectors_held(settings.optimizer, settings.iterations, history)
        return vectors, history_bytes(history, photo) if history else 0

    def placed(memory: int, movable: int) -> tuple[int, int]:
        """Memory and disk, of which something is on disk if there is a folder for it."""
        return (memory, movable) if limits.scratch is not None else (memory + movable, 0)

    def search(history: int | None) -> tuple[int, int]:
        """Memory and disk for what is as large as the picture."""
        vectors, kept = held(history)
        return placed(vectors * picture + guides, kept + targets)

    def whole(history: int | None) -> Strategy:
        vectors, kept = held(history)
        needed = whole_bytes(bound, settings, photo, paintings, threads, vectors)
        return Strategy(None, history, *placed(needed, kept))

    def tiled(history: int | None, tile: int) -> Strategy:
        needed, disk = search(history)
        needed += strips + max(
            with_gaps(tile_bytes(bound, layers, size, tile))
            for layers, size in _cuts(settings, photo, paintings)
        )
        return Strategy(tile, history, needed, disk)

    def largest(history: int | None) -> int:
        """The largest tile that fits; the smallest that is chosen if none does."""
        left = memory - search(history)[0] - strips
        smallest = max(SMALLEST_TILE, cell(bound.network, wanted))
        try:
            found = min(
                largest_tile(bound, layers, size, left)
                for layers, size in _cuts(settings, photo, paintings)
            )
        except InputError:
            return smallest
        return max(found, smallest)

    in_files = limits.scratch is not None
    history = (CORRECTIONS,) if in_files else (CORRECTIONS, *SHORTER_HISTORIES)
    if limits.cluster is not None:  # which has the tiles, and the content's targets
        if limits.tile == "off":
            raise InputError("--tile off: a cluster works by tiles; leave --cluster or this out")
        tile = CLUSTER_TILE if limits.tile == "auto" else limits.tile
        for m in (None, *(history if lean else ())):
            needed, disk = search(m)
            yield Strategy(tile, m, needed, disk)
        return
    if limits.tile != "auto":
        for m in (None, *(history if lean else ())):
            yield whole(m) if limits.tile == "off" else tiled(m, limits.tile)
        return
    for m in (None, *(history[:2] if lean else ())):
        yield whole(m)
    choices: Sequence[int | None] = history if lean else (None,)
    for m in choices[:-1]:
        tile = largest(m)
        if tile >= GOOD_TILE:
            yield tiled(m, tile)
    yield tiled(choices[-1], largest(choices[-1]))


def whole_bytes(
    bound: BoundNetwork,
    settings: Settings,
    photo: Size,
    paintings: Sequence[Size],
    threads: int,
    vectors: int,
) -> int:
    """Memory of a run in one piece, the largest painting's: `run_bytes` for all of them."""
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
    """Predict the memory that a run in one piece adds to what the process holds, in bytes.

    On a GPU it is the GPU's memory. CuPy's pool cannot use every gap between arrays; a quarter is
    added for that.

    Parameters
    ----------
    bound : BoundNetwork
        Network and pictures are loaded already; they are not counted.
    settings : Settings
    photo, painting : (height, width)
        Sizes after scaling.
    threads : int
        Worker threads, each with a workspace.
    vectors : int
        float64 pictures that the search holds, `npstyle.search.optimize.vectors_held`.
    """
    style = settings.style_layers
    wanted = [*settings.content_layers, *style]
    targets = content_bytes(bound, settings.content_layers, photo)
    search = vectors * photo[0] * photo[1] * 3 * 8
    evaluation = evaluation_bytes(bound, wanted, photo)
    painted = forward_bytes(bound, style, painting)
    if bound.engine is not cpu:
        return targets + search + with_gaps(max(painted, evaluation))
    peak = max(painted, targets + search + evaluation)
    return peak + threads * strips_bytes(bound, wanted, photo)


def _cuts(
    settings: Settings, photo: Size, paintings: Sequence[Size]
) -> list[tuple[list[str], Size]]:
    """What is cut into tiles: the photo for all layers, the paintings for those of style."""
    style = list(settings.style_layers)
    return [([*settings.content_layers, *style], photo), *((style, size) for size in paintings)]
