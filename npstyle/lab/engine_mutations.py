"""Wrong derivatives of what the engine derives for itself; see `npstyle.lab.mutations`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.cpu import winograd
from npstyle.engine.sizes import TILE
from npstyle.lab.battery import small_tiled, tile_subject
from npstyle.lab.layer_mutations import Build, Mutation
from npstyle.lab.subjects import Subject
from npstyle.maths.array import Array
from npstyle.tiles.objective import TiledObjective
from npstyle.tiles.passes import add_grams, cropped, tile_gradient, tile_grams


def square_winograd(backward: Callable[[Array, Array], Array]) -> Build:
    """Return Winograd's convolution of whole tiles, with as many channels out as in.

    Parameters
    ----------
    backward : callable
        (g, U) -> dL/dX, under test.
    """

    def build(rng: np.random.Generator) -> Subject:
        filters = winograd.transform_filters(rng.standard_normal((3, 3, 3, 3)))
        return Subject(
            "winograd_conv2d",
            lambda x: winograd.winograd_conv2d(x, filters),
            lambda g, x: backward(g, filters),
            (rng.standard_normal((2 * TILE, 2 * TILE, 3)),),
            linear=(0,),
            smooth=(0,),
        )

    return build


def _transposed(g: Array, filters: Array) -> Array:
    return winograd.winograd_conv2d_backward(g, filters.transpose(0, 2, 1))


def _written_forwards(g: Array, filters: Array) -> Array:
    gradient = winograd.winograd_conv2d_backward(g, filters)
    height, width, channels = gradient.shape
    tiles = gradient.reshape(height // TILE, TILE, width // TILE, TILE, channels)
    return tiles[:, ::-1, :, ::-1].reshape(gradient.shape)


def _without_the_rim(g: Array, filters: Array) -> Array:
    gradient = np.empty_like(g)
    for y, x in np.ndindex(g.shape[0] // TILE, g.shape[1] // TILE):
        own = slice(y * TILE, (y + 1) * TILE), slice(x * TILE, (x + 1) * TILE)
        alone = np.zeros_like(g)
        alone[own] = g[own]
        gradient[own] = winograd.winograd_conv2d_backward(alone, filters)[own]
    return gradient


Put = Callable[[Array, tuple[slice, slice], tuple[slice, slice], Array], None]
"""Puts a tile's gradient into the picture's: (gradient, pixels, core, found)."""


def by_tiles(
    tiled: TiledObjective, x: Array, put: Put | None = None, *, own_gram: bool = False
) -> Array:
    """Return the gradient by tiles, put together from its parts.

    Parameters
    ----------
    tiled : TiledObjective
    x : array (height, width, 3)
    put : callable, optional
        By default a tile's gradient is added.
    own_gram : bool
        Whether each tile takes its own share of the Gram matrices for the whole.
    """
    guides = [[cropped(guide, tile) for guide in tiled.guides] for tile in tiled.tiles]
    shares = [
        tile_grams(tiled.bound, x[tile.pixels], tile, own)
        for tile, own in zip(tiled.tiles, guides, strict=True)
    ]
    sums: list[dict[str, Array]] = [{} for _ in tiled.guides]
    for share in shares:
        add_grams(sums, share)
    gradient = np.zeros(x.shape)
    for tile, own, share in zip(tiled.tiles, guides, shares, strict=True):
        slopes = _slopes(tiled, share if own_gram else sums)
        targets = cropped(tiled.content_targets, tile)
        way = tiled.bound, x[tile.pixels], tile, own, slopes, targets, tiled.alpha
        found = tile_gradient(*way)[1]
        if put is None:
            gradient[tile.pixels] += found
        else:
            put(gradient, tile.pixels, (tile.rows.core, tile.columns.core), found)
    cpu.total_variation_backward(x, tiled.losses.tv_weight, gradient)
    return gradient


def _slopes(tiled: TiledObjective, grams: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    return [
        {
            name: cpu.gram_loss_backward(found[name], target[name], beta)
            for name, beta in tiled.beta.items()
            if name in found
        }
        for found, target in zip(grams, tiled.style_targets, strict=True)
    ]


def _core_only(
    gradient: Array, pixels: tuple[slice, slice], core: tuple[slice, slice], found: Array
) -> None:
    place = np.zeros_like(gradient)
    place[pixels] = found
    gradient[core] = place[core]


def _overwritten(
    gradient: Array, pixels: tuple[slice, slice], core: tuple[slice, slice], found: Array
) -> None:
    gradient[pixels] = found


def tiles(gradient: Callable[[TiledObjective, Array], Array]) -> Build:
    """Return the objective of a small picture with a gradient by tiles that is under test."""

    def build(rng: np.random.Generator) -> Subject:
        whole, tiled, x = small_tiled(rng)
        subject = tile_subject(whole, tiled, x)
        return replace(subject, backward=lambda g, x: g * gradient(tiled, x))

    return build


ENGINE = {
    "winograd_filters_not_transposed": Mutation(
        "winograd",
        "U_k takes the place of U_k^T: the channels in and out are not swapped.",
        square_winograd(_transposed),
    ),
    "winograd_written_forwards": Mutation(
        "winograd",
        "The tiles are read backwards, but their outputs are written forwards.",
        square_winograd(_written_forwards),
    ),
    "winograd_rim_dropped": Mutation(
        "winograd",
        "A tile reads the 4x4 gradients of its own outputs, not the 6x6 around them.",
        square_winograd(_without_the_rim),
    ),
    "tiles_halo_dropped": Mutation(
        "tiles",
        "The gradient at a tile's halo is dropped, not added to that of the neighbours.",
        tiles(lambda tiled, x: by_tiles(tiled, x, _core_only)),
    ),
    "tiles_halo_overwrites": Mutation(
        "tiles",
        "Where the halos of two tiles overlap, the gradient of the later one replaces the sum.",
        tiles(lambda tiled, x: by_tiles(tiled, x, _overwritten)),
    ),
    "tiles_own_gram": Mutation(
        "tiles",
        "Each tile compares its own share of the Gram matrix with the painting's, not the sum of "
        "all shares.",
        tiles(lambda tiled, x: by_tiles(tiled, x, own_gram=True)),
    ),
}
"""By name."""
