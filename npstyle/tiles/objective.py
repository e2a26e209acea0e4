"""The objective of a picture that does not fit the memory: the same numbers, tile by tile.

`npstyle.tiles.cut` cuts the picture, `npstyle.tiles.passes` says why two passes over the tiles give the
loss and the gradient of the whole, and here they are run one after another. The sums are float64
and in one order: the result depends on the size of the tiles by rounding only, and not at all on
the number of threads.

Peak memory is that of one tile (`npstyle.engine.memory.tile_bytes`), what is as large as the picture
aside: its pixels, its gradient, the content's targets and the guides.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.arena import Arena
from npstyle.engine.cpu.losses import (
    style_loss,
    style_slope,
    total_variation,
    total_variation_backward,
)
from npstyle.engine.disk import Allocate, in_memory, let_go
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.engine.memory import tile_bytes, with_gaps
from npstyle.engine.objective import Evaluation, blended, factors, regions_of, weights_by_layer
from npstyle.errors import InputError
from npstyle.networks.network import Network, shapes
from npstyle.run.settings import Settings
from npstyle.tiles.cut import Size, Tile, cut
from npstyle.tiles.passes import (
    Guide,
    add_grams,
    cropped,
    tile_activations,
    tile_backward,
    tile_forward,
    tile_gradient,
    tile_grams,
)

if TYPE_CHECKING:
    from npstyle.tiles.cluster.cluster import Cluster
    from npstyle.tiles.cluster.tiles import ClusterTiles

Array = NDArray[Any]


class TiledObjective:
    """The objective of `npstyle.engine.objective.StyleObjective`, evaluated tile by tile.

    Parameters
    ----------
    network : Network
    photo : array (height, width, 3), pixels 0..255
    painting : array (any height, any width, 3), pixels 0..255; or a sequence of Region
        They are looked at tile by tile, too, so they may be memory maps.
    settings : Settings
        Layers, weights and scaling are used.
    tile : int
        Longest side of a tile without its halo, in pixels; see `npstyle.tiles.cut.cut`.
    allocate : callable, optional
        Makes the content's targets, which are as large as the picture; see `npstyle.engine.disk`.
    cluster : npstyle.tiles.cluster.cluster.Cluster, optional
        Where the tiles are run; here if not given. The photo must then stay as it is.

    Attributes
    ----------
    content_targets, style_targets, guides, alpha, beta
        As those of `StyleObjective`; a region without a mask has one number as its guide. The
        content's targets stay on the cluster, if there is one, and are not here.
    tiles : list of Tile
        Those of an evaluation's second pass.

    Raises
    ------
    InputError
        If a layer is unknown, a picture is too small for it, nothing of a mask is left there, the
        tile is too small, or the network is on a GPU; and whatever the cluster is at fault with,
        also in an evaluation.
    """

    def __init__(
        self,
        network: Network,
        photo: Array,
        painting: Array | Sequence[Region],
        settings: Settings,
        tile: int,
        allocate: Allocate = in_memory,
        cluster: "Cluster | None" = None,
    ) -> None:
        if network.is_on_gpu:
            raise InputError("--tile: tiles are run by NumPy only; use --tile off on a GPU")
        self.network, self.shape, self.tile = network, photo.shape, tile
        self.tv_weight = settings.tv_weight
        self._allocate = allocate
        content, style = weights_by_layer(network, settings.content_layers, settings.style_layers)
        wanted = self._wanted = tuple(dict.fromkeys([*content, *style]))
        size = photo.shape[:2]
        self.tiles = cut(network, wanted, size, tile)
        self._style_tiles = cut(network, style, size, tile)
        memory = with_gaps(tile_bytes(network, wanted, size, tile))
        self.arena = Arena(memory if cluster is None else 0)

        self._elsewhere: ClusterTiles | None = None
        self.content_targets: dict[str, Array] = {}
        if cluster is None:
            self.content_targets = self._content_targets(photo, content)
        else:
            from npstyle.tiles.cluster import (
                tiles as cluster_tiles,  # and with it Dask, which need not be installed
            )

            self._elsewhere = cluster_tiles.ClusterTiles(cluster, network, photo, content, memory)
        regions = regions_of(painting)
        self.style_targets = [
            blended(region, lambda source: self._source_grams(source, style)) for region in regions
        ]
        self.guides = [_guide(network, region.mask, style, size) for region in regions]
        self.alpha, self.beta = factors(
            {name: settings.content_weight * w for name, w in content.items()},
            {name: settings.style_weight * w for name, w in style.items()},
            {name: math.prod(shape) for name, shape in _outputs(network, content, size).items()},
            self.style_targets,
            settings.scaling,
        )

    def _content_targets(self, photo: Array, content: Collection[str]) -> dict[str, Array]:
        """P of the whole photo, written tile by tile.

        The tiles are an evaluation's own, so that L is exactly 0 at the photo.
        """
        outputs = _outputs(self.network, content, photo.shape[:2])
        targets = {
            name: self._allocate(shape, self.network.dtype, f"content {name}")
            for name, shape in outputs.items()
        }
        for tile in self.tiles:
            with self.arena.lent():
                own = tile_activations(self.network, photo[tile.pixels], tile, content)
            for name, activation in own.items():
                targets[name][tile.own(name)] = activation
                let_go(targets[name])
        return targets

    def _source_grams(self, source: Source, style: Collection[str]) -> dict[str, Array]:
        """The Gram matrices of a painting, or of the part of it that is meant."""
        size = source.pixels.shape[:2]
        guide = _guide(self.network, source.mask, style, size)
        tiles = cut(self.network, style, size, self.tile)
        return self._grams(source.pixels, tiles, [guide])[0]

    def _grams(
        self, pixels: Array, tiles: Sequence[Tile], guides: Sequence[Guide]
    ) -> list[dict[str, Array]]:
        """The first pass: G' of each region, by layer, in the network's precision."""
        if self._elsewhere is not None:
            sums = self._elsewhere.grams(pixels, tiles, guides)
        else:
            sums = [{} for _ in guides]
            for tile in tiles:
                own = [cropped(guide, tile) for guide in guides]
                with self.arena.lent():
                    shares = tile_grams(self.network, pixels[tile.pixels], tile, own)
                add_grams(sums, shares)
        dtype = self.network.dtype
        return [{name: total.astype(dtype) for name, total in found.items()} for found in sums]

    def __call__(self, pixels: Array) -> Evaluation:
        """Evaluate f and df/dx.

        Parameters
        ----------
        pixels : array (height, width, 3), RGB, 0..255
            x, of the photo's size.

        Returns
        -------
        Evaluation
            (loss, gradient, parts).

        Raises
        ------
        ValueError
            If the picture has another size than the photo.
        """
        if pixels.shape != self.shape:
            raise ValueError(f"the picture is {pixels.shape}, the photo is {self.shape}")
        gradient = np.zeros(self.shape)
        at_once = len(self.tiles) == 1 and self._elsewhere is None
        run = self._run_at_once if at_once else self._run_twice
        grams, contents = run(pixels, gradient)
        parts: dict[str, float] = {}
        for name in self._wanted:
            if name in self.alpha:
                parts[f"content {name}"] = self.alpha[name] * contents[name]
            if name in self.beta:
                pairs = zip(grams, self.style_targets, strict=True)
                losses = [style_loss(found[name], target[name]) for found, target in pairs]
                parts[f"style {name}"] = self.beta[name] * float(sum(losses))
        if self.tv_weight:
            parts["tv"] = self.tv_weight * float(total_variation(pixels))
            total_variation_backward(pixels, self.tv_weight, gradient)
        return Evaluation(sum(parts.values()), gradient, parts)

    def _run_twice(
        self, pixels: Array, gradient: Array
    ) -> tuple[list[dict[str, Array]], dict[str, float]]:
        """Both passes: G' of each region and the content losses; the gradient is added up."""
        grams = self._grams(pixels, self._style_tiles, self.guides)
        slopes = self._slopes(grams)
        if self._elsewhere is not None:
            contents = self._elsewhere.add_gradient(
                pixels, self.tiles, self.guides, slopes, self.alpha, gradient
            )
            return grams, contents
        contents = dict.fromkeys(self.content_targets, 0.0)
        for tile in self.tiles:
            with self.arena.lent():
                shares, found = tile_gradient(
                    self.network,
                    pixels[tile.pixels],
                    tile,
                    [cropped(guide, tile) for guide in self.guides],
                    slopes,
                    cropped(self.content_targets, tile),
                    self.alpha,
                )
            gradient[tile.pixels] += found
            for name, share in shares.items():
                contents[name] += share
                let_go(self.content_targets[name])
        return grams, contents

    def _run_at_once(
        self, pixels: Array, gradient: Array
    ) -> tuple[list[dict[str, Array]], dict[str, float]]:
        """The same for a picture that is one tile: what the first pass kept serves the second."""
        (tile,) = self.tiles
        guides = [cropped(guide, tile) for guide in self.guides]
        targets = cropped(self.content_targets, tile)
        with self.arena.lent():
            grams, contents, cache = tile_forward(
                self.network, pixels[tile.pixels], tile, guides, targets
            )
            gradient[tile.pixels] = tile_backward(
                self.network, cache, tile, guides, self._slopes(grams), targets, self.alpha
            )
        return grams, contents

    def _slopes(self, grams: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """D of each region, by layer, weighed."""
        return [
            {name: style_slope(found[name], target[name], self.beta[name]) for name in self.beta}
            for found, target in zip(grams, self.style_targets, strict=True)
        ]


def _guide(network: Network, mask: Array | None, style: Collection[str], size: Size) -> Guide:
    """What the positions of each style layer count: a mask's weights, or 1 / M."""
    if mask is not None:
        return carry_down(network, style, mask)
    outputs = _outputs(network, style, size)
    return {name: 1 / (height * width) for name, (height, width, _) in outputs.items()}


def _outputs(
    network: Network, wanted: Collection[str], size: Size
) -> dict[str, tuple[int, int, int]]:
    """The shapes of some activations, by the names given."""
    outputs = shapes(network, wanted, *size)
    return {name: outputs[network.depth(name)][1] for name in wanted}
