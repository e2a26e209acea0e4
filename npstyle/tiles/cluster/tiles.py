"""The two passes over the tiles of a picture, on a cluster.

The caller cuts, sends and adds; `npstyle.tiles.cluster.worker` says what a worker does, and
`npstyle.tiles.cluster.jobs` what happens when one dies or dawdles.

Pass one
--------
The Gram matrices of a tile stay on its worker. Those of `FAN` tiles that follow one another are
added up by one of the workers, and `FAN` such sums by another: a tree of `GROUP` tiles, of which
the caller has one sum and adds it to those before. It ends there because Dask keeps all that a
result was made from until the result has left the cluster: of `GROUP` tiles that is little, of the
picture it would be the picture. The shape of the tree depends on the number of tiles alone, and the
sums are float64: the loss is the same to the last bit for any number of workers, and whatever
happens to them.

Pass two
--------
A tile's gradient is added to the picture's when it arrives. So the order of the sum where halos
overlap is that of the arrivals, and two evaluations may differ by float64's rounding. (To add in
the tiles' order would mean to keep what has arrived too early: without end, if one is late.)

The content's targets of a tile, of which there is more than of its pixels (512 / 64 = 8 numbers for
each pixel at conv4_2, and 3), are made by its first evaluation and stay on the worker. To make them
again each time would be to send the photo each time, and a third of the work more. Should they be
lost, Dask makes them again: its scheduler keeps what they were made from, the tile of the photo.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from npstyle.engine.objective import network_input, network_input_backward
from npstyle.engine.strips import strips
from npstyle.networks.network import Network
from npstyle.tiles.cluster.cluster import Cluster
from npstyle.tiles.cluster.jobs import Job, answers
from npstyle.tiles.cluster.worker import (
    as_given,
    content_of_tile,
    share_of_gradient,
    share_of_grams,
    sum_of_grams,
)
from npstyle.tiles.cut import Tile
from npstyle.tiles.passes import Guide, add_grams, cropped

if TYPE_CHECKING:
    from distributed import Future

Array = NDArray[Any]

FAN = 4
"""Gram matrices that are added up at a time."""

GROUP = FAN * FAN
"""Tiles whose Gram matrices are added up before they leave the cluster."""

REMEMBERED = 99
"""Tiles that the median of their times is taken of."""


class ClusterTiles:
    """Tiles of one picture on a cluster.

    Parameters
    ----------
    cluster : Cluster
    network : Network
        Not on a GPU.
    photo : array (height, width, 3), pixels 0..255
    content : names of activations
        Where the content losses are.
    memory : int
        Bytes for the arena of a tile.
    """

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        photo: Array,
        content: Collection[str],
        memory: int,
    ) -> None:
        self._cluster, self._network, self._photo = cluster, network, photo
        self._content, self._memory = tuple(content), memory
        self._seat = cluster.seat(network)
        self._targets: dict[int, Future[dict[str, Array]]] = {}
        self._spent: tuple[deque[float], deque[float]] = (
            deque(maxlen=REMEMBERED),
            deque(maxlen=REMEMBERED),
        )

    def grams(
        self, pixels: Array, tiles: Sequence[Tile], guides: Sequence[Guide]
    ) -> list[dict[str, Array]]:
        """The first pass: sum_k w_k F_k F_k^T of each region, by layer, in float64.

        Parameters are those of `npstyle.tiles.passes.tile_grams`, over the whole picture.
        """

        def share(tile: Tile, _copy: int = 0) -> "Future[Any]":
            own = [cropped(guide, tile) for guide in guides]
            fed = self._fed(pixels, tile)
            return self._cluster.submit(share_of_grams, self._seat, self._memory, fed, tile, own)

        def total(
            group: Sequence[Tile], shares: Sequence["Future[Any]"], copy: int
        ) -> "Future[Any]":
            if copy:
                shares = [share(tile) for tile in group]
            fans = [self._sum(shares[first:end]) for first, end in strips(len(shares), FAN)]
            return self._sum(fans)

        groups = [tiles[first : first + GROUP] for first in range(0, len(tiles), GROUP)]
        found: list[dict[int, Future[Any]]] = [{} for _ in groups]
        totals: dict[int, list[dict[str, Array]]] = {}
        sums: list[dict[str, Array]] = [{} for _ in guides]
        added = 0
        jobs = deque(
            Job((g, k), partial(share, tile), fetched=False)
            for g, group in enumerate(groups)
            for k, tile in enumerate(group)
        )
        with ExitStack() as held:
            held.callback(
                lambda: self._let_go(share for group in found for share in group.values())
            )
            arriving = held.enter_context(closing(answers(self._cluster, jobs, self._spent[0])))
            for (g, k), answer in arriving:
                if k is None:
                    totals[g] = answer
                    found[g].clear()
                else:
                    found[g][k] = answer
                    if len(found[g]) == len(groups[g]):
                        shares = [found[g][k] for k in range(len(groups[g]))]
                        jobs.appendleft(Job((g, None), partial(total, groups[g], shares)))
                while added in totals:
                    add_grams(sums, totals.pop(added))
                    added += 1
        return sums

    def _sum(self, shares: Sequence["Future[Any]"]) -> "Future[Any]":
        return self._cluster.submit(sum_of_grams, list(shares), priority=1)

    def _let_go(self, futures: "Iterable[Future[Any]]") -> None:
        """Now: a traceback may keep what refers to them until Python next collects garbage."""
        for future in futures:
            self._cluster.let_go(future)

    def add_gradient(
        self,
        pixels: Array,
        tiles: Sequence[Tile],
        guides: Sequence[Guide],
        slopes: Sequence[Mapping[str, Array]],
        alpha: Mapping[str, float],
        gradient: Array,
    ) -> dict[str, float]:
        """The second pass: the content losses; what the tiles give is added to the gradient.

        Parameters are those of `npstyle.tiles.passes.tile_gradient`, over the whole picture, and
        the picture's gradient. The tiles must be the same each time.
        """
        given = self._cluster.submit(as_given, slopes)

        def share(number: int, tile: Tile, copy: int) -> "Future[Any]":
            if copy or number not in self._targets:
                photo = self._fed(self._photo, tile)
                self._targets[number] = self._cluster.submit(
                    content_of_tile, self._seat, self._memory, photo, tile, self._content
                )
            return self._cluster.submit(
                share_of_gradient,
                self._seat,
                self._memory,
                self._fed(pixels, tile),
                tile,
                [cropped(guide, tile) for guide in guides],
                slopes if copy else given,
                self._targets[number],
                alpha,
            )

        contents: list[dict[str, float]] = [{} for _ in tiles]
        jobs = deque(Job(number, partial(share, number, tile)) for number, tile in enumerate(tiles))
        with ExitStack() as held:
            held.callback(self._let_go, [given])
            arriving = held.enter_context(closing(answers(self._cluster, jobs, self._spent[1])))
            for number, (contents[number], found) in arriving:
                gradient[tiles[number].pixels] += network_input_backward(self._network, found)
        return {name: sum(share.get(name, 0.0) for share in contents) for name in self._content}

    def _fed(self, pixels: Array, tile: Tile) -> Array:
        """The network's input of a tile."""
        return network_input(self._network, pixels[tile.pixels])
