"""The two passes over the tiles of a picture, on a cluster.

The caller cuts the tiles, sends them and adds up the results. `npstyle.tiles.cluster.worker` holds
the tasks that run on a worker; `npstyle.tiles.cluster.jobs` handles lost results and stragglers.

First pass
----------
The Gram matrices of the tiles are added up here, in float64 and in the order of the tiles, as on
one machine. The loss is therefore the same to the last bit for any number of workers, whatever
happens to them. A result that arrives before its turn is kept. With tiles of 1024, such results
take at most 2.3 bytes per pixel and region, one percent of the memory that the caller needs anyway.

Second pass
-----------
A tile's gradient is added to the picture's gradient on arrival. Where halos overlap, the order of
the sum depends on the order of arrival, so two evaluations may differ by float64 rounding. (To add
in the order of the tiles, the caller would have to keep early gradients: almost the whole picture,
if one tile is late.)

The first evaluation computes the content targets of each tile, and they stay on the worker. They
are larger than the tile (512 / 64 = 8 numbers per pixel at conv4_2, as opposed to 3). To compute
them again each time, the photo would have to be sent each time, and the work would grow by a third.
If targets are lost, Dask recomputes them: its scheduler keeps the arguments of the task, which
include the tile of the photo.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from npstyle.engine.bind import BoundNetwork
from npstyle.maths.array import Array
from npstyle.tiles.cluster.cluster import Cluster
from npstyle.tiles.cluster.jobs import Job, results
from npstyle.tiles.cluster.worker import (
    content_of_tile,
    gradient_of_tile,
    grams_of_tile,
    identity,
)
from npstyle.tiles.cut import Tile
from npstyle.tiles.passes import Guide, add_grams, cropped

if TYPE_CHECKING:
    from distributed import Future

MEASURED = 99
"""Number of the latest tiles whose median duration is the standard for stragglers."""


class ClusterTiles:
    """The tiles of one picture on a cluster.

    Parameters
    ----------
    cluster : Cluster
    bound : BoundNetwork
        On the CPU engine.
    photo : array (height, width, 3), pixels 0..255
    content : names of activations
        Layers with a content loss.
    memory : int
        Size of a worker's arena, in bytes.
    """

    def __init__(
        self,
        cluster: Cluster,
        bound: BoundNetwork,
        photo: Array,
        content: Collection[str],
        memory: int,
    ) -> None:
        self._cluster, self._bound, self._photo = cluster, bound, photo
        self._content, self._memory = tuple(content), memory
        self._plugin = cluster.load(bound)
        self._targets: dict[int, Future[dict[str, Array]]] = {}
        self._gram_durations = deque[float](maxlen=MEASURED)
        self._gradient_durations = deque[float](maxlen=MEASURED)

    def grams(
        self, pixels: Array, tiles: Sequence[Tile], guides: Sequence[Guide]
    ) -> list[dict[str, Array]]:
        """Run the first pass: sum_k w_k F_k F_k^T of each region, by layer, in float64.

        Parameters are those of `npstyle.tiles.passes.tile_grams`, for the whole picture.
        """

        def start(tile: Tile, _copy: int) -> "Future[Any]":
            own = [cropped(guide, tile) for guide in guides]
            return self._submit(grams_of_tile, pixels, tile, own)

        jobs = deque(Job(number, partial(start, tile)) for number, tile in enumerate(tiles))
        sums: list[dict[str, Array]] = [{} for _ in guides]
        early: dict[int, list[dict[str, Array]]] = {}
        added = 0
        with closing(results(self._cluster, jobs, self._gram_durations)) as arriving:
            for number, found in arriving:
                early[number] = found
                while added in early:
                    add_grams(sums, early.pop(added))
                    added += 1
        return sums

    def add_gradient(
        self,
        pixels: Array,
        tiles: Sequence[Tile],
        guides: Sequence[Guide],
        slopes: Sequence[Mapping[str, Array]],
        alpha: Mapping[str, float],
        gradient: Array,
    ) -> dict[str, float]:
        """Run the second pass: return the content losses and add to the gradient.

        Parameters are those of `npstyle.tiles.passes.tile_gradient`, for the whole picture, and the
        picture's gradient. The tiles must be the same in every call.
        """
        # A task rather than scattered data: Dask can repeat it if its worker dies.
        sent = self._cluster.submit(identity, slopes)

        def start(number: int, tile: Tile, copy: int) -> "Future[Any]":
            if copy or number not in self._targets:
                self._targets[number] = self._submit(
                    content_of_tile, self._photo, tile, self._content
                )
            return self._submit(
                gradient_of_tile,
                pixels,
                tile,
                [cropped(guide, tile) for guide in guides],
                slopes if copy else sent,
                self._targets[number],
                alpha,
            )

        jobs = deque(Job(number, partial(start, number, tile)) for number, tile in enumerate(tiles))
        contents: list[dict[str, float]] = [{} for _ in tiles]
        try:
            with closing(results(self._cluster, jobs, self._gradient_durations)) as arriving:
                for number, (losses, found) in arriving:
                    contents[number] = losses
                    gradient[tiles[number].pixels] += self._bound.preprocess_backward(found)
        finally:
            # Explicitly: after an error, a traceback may keep references to it for a long time.
            self._cluster.release(sent)
        return {name: sum(losses.get(name, 0.0) for losses in contents) for name in self._content}

    def _submit(self, task: Any, pixels: Array, tile: Tile, *arguments: Any) -> "Future[Any]":
        """Submit a task of `npstyle.tiles.cluster.worker` with the network input of a tile."""
        image = self._bound.preprocess(pixels[tile.pixels])
        return self._cluster.submit(task, self._plugin, self._memory, image, tile, *arguments)
