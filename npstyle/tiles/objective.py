"""The objective of a picture that does not fit into memory: the same numbers, tile by tile.

`npstyle.tiles.cut` cuts the picture, and `npstyle.tiles.passes` explains why two passes over the
tiles give the loss and the gradient of the whole picture. This module runs them one after another.
The sums are float64 and in a fixed order: tiles of another size change the result by rounding only,
and the number of threads does not change it.

The peak memory is that of one tile (`npstyle.tiles.memory.tile_bytes`), plus the arrays of the
whole picture's size: its pixels, its gradient, the content targets and the guides.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.arena import Arena
from npstyle.engine.bind import BoundNetwork
from npstyle.engine.disk import Allocate, in_memory, let_go
from npstyle.engine.guides import Region, Source, carry_down
from npstyle.engine.losses import (
    Evaluation,
    Losses,
    blended,
    factors,
    regions_of,
    weighted_parts,
)
from npstyle.engine.memory import with_gaps
from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.network import Network, shapes
from npstyle.tiles.cut import Size, Tile, cut
from npstyle.tiles.memory import tile_bytes
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


class TiledObjective:
    """The objective of `npstyle.engine.objective.StyleObjective`, evaluated tile by tile.

    Parameters
    ----------
    bound : BoundNetwork
        On the CPU engine.
    photo : array (height, width, 3), pixels 0..255
    painting : array (any height, any width, 3), pixels 0..255; or a sequence of Region
        Photo and paintings are read tile by tile, so they may be memory maps.
    losses : Losses
        The layers with a loss, and the weights of the losses.
    tile : int
        Longest side of a tile without its halo, in pixels; see `npstyle.tiles.cut.cut`.
    allocate : callable, optional
        Makes the content targets, which have the size of the picture; see `npstyle.engine.disk`.
    cluster : npstyle.tiles.cluster.cluster.Cluster, optional
        Runs the tiles; this process does by default. The photo must then not change.

    Attributes
    ----------
    content_targets, style_targets, guides, alpha, beta
        As those of `StyleObjective`. A region without a mask has one number as its guide. With a
        cluster, the content targets stay there.
    tiles : list of Tile
        Those of an evaluation's second pass.

    Raises
    ------
    InputError
        If a layer is unknown, a picture is too small for it, a mask is 0 everywhere there, the tile
        is too small, or the network is on a GPU. The cluster may raise it in an evaluation,
        too.
    """

    def __init__(
        self,
        bound: BoundNetwork,
        photo: Array,
        painting: Array | Sequence[Region],
        losses: Losses,
        tile: int,
        allocate: Allocate = in_memory,
        cluster: "Cluster | None" = None,
    ) -> None:
        if bound.engine.ON_GPU:
            raise InputError("--tile: tiles run on the CPU only; use --tile off on a GPU")
        network = bound.network
        self.bound, self.shape, self.tile = bound, photo.shape, tile
        self._allocate = allocate
        self.losses = losses.canonical(network)
        content, style = self.losses.content_layers, self.losses.style_layers
        size = photo.shape[:2]
        self.tiles = cut(network, self.losses.layers, size, tile)
        self._style_tiles = cut(network, style, size, tile)
        memory = with_gaps(tile_bytes(bound, self.losses.layers, size, tile))
        self.arena = Arena(memory if cluster is None else 0)

        self._elsewhere: ClusterTiles | None = None
        self.content_targets: dict[str, Array] = {}
        if cluster is None:
            self.content_targets = self._content_targets(photo, content)
        else:
            from npstyle.tiles.cluster import tiles as cluster_tiles  # needs Dask, an extra

            self._elsewhere = cluster_tiles.ClusterTiles(cluster, bound, photo, content, memory)
        regions = regions_of(painting)
        self.style_targets = [blended(region, self._source_grams) for region in regions]
        self.guides = [_guide(bound, region.mask, style, size) for region in regions]
        sizes = {name: math.prod(shape) for name, shape in _outputs(network, content, size).items()}
        self.alpha, self.beta = factors(self.losses, sizes, self.style_targets)

    def _content_targets(self, photo: Array, content: Collection[str]) -> dict[str, Array]:
        """P of the whole photo, written tile by tile.

        The tiles are those of an evaluation, so that L is exactly 0 at the photo.
        """
        outputs = _outputs(self.bound.network, content, photo.shape[:2])
        targets = {
            name: self._allocate(shape, self.bound.dtype, f"content {name}")
            for name, shape in outputs.items()
        }
        for tile in self.tiles:
            with self.arena.lent():
                own = tile_activations(self.bound, photo[tile.pixels], tile, content)
            for name, activation in own.items():
                targets[name][tile.own(name)] = activation
                let_go(targets[name])
        return targets

    def _source_grams(self, source: Source) -> dict[str, Array]:
        """The Gram matrices of a painting, or of a part of it."""
        style, size = self.losses.style_layers, source.pixels.shape[:2]
        guide = _guide(self.bound, source.mask, style, size)
        tiles = cut(self.bound.network, style, size, self.tile)
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
                    shares = tile_grams(self.bound, pixels[tile.pixels], tile, own)
                add_grams(sums, shares)
        dtype = self.bound.dtype
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
        in_one_run = len(self.tiles) == 1 and self._elsewhere is None
        run = self._run_once if in_one_run else self._run_twice
        grams, contents = run(pixels, gradient)
        terms: dict[str, float] = {}
        for name in self.losses.layers:
            if name in self.alpha:
                terms[f"content {name}"] = contents[name]
            if name in self.beta:
                pairs = zip(grams, self.style_targets, strict=True)
                losses = [cpu.gram_loss(found[name], target[name]) for found, target in pairs]
                terms[f"style {name}"] = float(sum(losses))
        gamma = self.losses.tv_weight
        if gamma:
            terms["tv"] = float(cpu.total_variation(pixels))
            cpu.total_variation_backward(pixels, gamma, gradient)
        parts = weighted_parts(terms, self.alpha, self.beta, gamma)
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
                    self.bound,
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

    def _run_once(
        self, pixels: Array, gradient: Array
    ) -> tuple[list[dict[str, Array]], dict[str, float]]:
        """The same for a picture of one tile: the second pass uses the cache of the first."""
        (tile,) = self.tiles
        guides = [cropped(guide, tile) for guide in self.guides]
        targets = cropped(self.content_targets, tile)
        with self.arena.lent():
            grams, contents, cache = tile_forward(
                self.bound, pixels[tile.pixels], tile, guides, targets
            )
            gradient[tile.pixels] = tile_backward(
                self.bound, cache, tile, guides, self._slopes(grams), targets, self.alpha
            )
        return grams, contents

    def _slopes(self, grams: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """beta D of each region, by layer."""
        return [
            {
                name: cpu.gram_loss_backward(found[name], target[name], beta)
                for name, beta in self.beta.items()
            }
            for found, target in zip(grams, self.style_targets, strict=True)
        ]


def _guide(bound: BoundNetwork, mask: Array | None, style: Collection[str], size: Size) -> Guide:
    """The guide at each style layer: from a mask, or 1/M."""
    if mask is not None:
        guides = carry_down(bound.network, style, mask)
        return {name: guide.astype(bound.dtype) for name, guide in guides.items()}
    outputs = _outputs(bound.network, style, size)
    return {name: 1 / (height * width) for name, (height, width, _) in outputs.items()}


def _outputs(
    network: Network, wanted: Collection[str], size: Size
) -> dict[str, tuple[int, int, int]]:
    """Shapes of some activations, by the names given."""
    outputs = shapes(network, wanted, *size)
    return {name: outputs[network.depth(name)][1] for name in wanted}
