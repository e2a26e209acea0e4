"""The two passes over the tiles of a picture, each from arrays to arrays.

A Gram matrix and a content loss are sums over positions, so each is the sum of what the tiles of
`npstyle.tiles.cut` own of it, and so is the gradient. But the derivative of the style term at one
position needs the Gram matrix of all,

    dE/dF_k = w_k (D + D^T) F_k where F_k > 0,     D = dE/dG' = 1/(2 N^2) (G' - A')

with the weights w_k = 1/M or a guide's (`npstyle.engine.cpu.losses`). Hence two passes:

1. Each tile runs forward, as deep as the deepest style layer, and gives sum_k w_k F_k F_k^T over
   its own positions (`tile_grams`). Nothing else of it is kept. Added up (`add_grams`), that is
   G', and with it every style term and D are known.
2. Each tile runs forward again, as deep as any loss, takes its own share of the content losses,
   and runs backward with the losses' derivatives at its own positions (`tile_gradient`). What
   arrives at its pixels, halo included, is added to the picture's gradient.

A tile is a region of its layers: its share of a guided Gram matrix, and of the derivative, is that
of a guide which is 0 outside of its own positions. So the kernels are those of the whole picture.

Nothing here knows of another tile: it does not matter where the calls run, or in which order.

A picture that is one tile runs forward once. Else an evaluation costs a second forward pass, and
all of it what the halos add (`tile_cost`).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.cpu.gram import gram, gram_backward
from npstyle.engine.cpu.losses import content_loss, content_loss_backward
from npstyle.engine.cpu.winograd import WINDOW
from npstyle.engine.objective import network_input, network_input_backward
from npstyle.engine.passes import Cache, LossGradient, backward, forward
from npstyle.engine.sizes import tile_count
from npstyle.networks.network import Conv, FastConv, Network, shapes
from npstyle.tiles.cut import Size, Tile, cut

Array = NDArray[Any]

Guide = Mapping[str, Array | float]
"""By style layer, what the positions count: w, (height, width), or one number for all of them."""


def tile_forward(
    network: Network,
    pixels: Array,
    tile: Tile,
    guides: Sequence[Guide],
    targets: Mapping[str, Array],
) -> tuple[list[dict[str, Array]], dict[str, float], Cache]:
    """Run a tile forward.

    Parameters
    ----------
    network : Network
    pixels : array (height, width, 3), RGB, 0..255
        The tile's, with its halo.
    tile : Tile
    guides : one for each region
        Cropped to the tile's own positions, see `cropped`.
    targets : dict of arrays (own height, own width, channels)
        By content layer, P at the tile's own positions.

    Returns
    -------
    grams : list of dicts of arrays (channels, channels), in the network's precision
        For each guide, sum_k w_k F_k F_k^T by layer.
    contents : dict
        By content layer, the tile's share of L.
    cache : Cache
        For `tile_backward`.
    """
    grams: list[dict[str, Array]] = [{} for _ in guides]
    contents: dict[str, float] = {}

    def take(name: str, activation: Array) -> None:
        for found, guide in zip(grams, guides, strict=True):
            if name in guide:
                rows, weights = _weights(activation, tile, name, guide)
                found[name] = gram(activation[rows], weights)
        if name in targets:
            contents[name] = float(content_loss(_own(tile, name, activation), targets[name]))

    wanted = {name: partial(take, name) for name in tile.layers}
    _, cache = forward(network, network_input(network, pixels), wanted)
    return grams, contents, cache


def tile_backward(
    network: Network,
    cache: Cache,
    tile: Tile,
    guides: Sequence[Guide],
    slopes: Sequence[Mapping[str, Array]],
    targets: Mapping[str, Array],
    alpha: Mapping[str, float],
) -> Array:
    """Run a tile backward, with the losses' derivatives at its own positions.

    Parameters
    ----------
    network, tile, guides, targets
        As in `tile_forward`.
    cache : Cache
        From there; it is used up.
    slopes : one dict for each region
        By style layer, D = dE/dG' of the whole picture, weighed, (channels, channels).
    alpha : dict
        By content layer, what its loss is multiplied by in the gradient.

    Returns
    -------
    float64 array (height, width, 3)
        The tile's share of df/dx, at its pixels with the halo.
    """

    def add(name: str, activation: Array, gradient: Array | None) -> Array:
        if gradient is None:
            gradient = np.zeros_like(activation)
        if name in targets:
            own = _own(tile, name, gradient)
            content_loss_backward(
                _own(tile, name, activation), targets[name], alpha[name], own, gated=False
            )
        for guide, slope in zip(guides, slopes, strict=True):
            if name in guide:
                rows, weights = _weights(activation, tile, name, guide)
                gram_backward(
                    slope[name],
                    activation[rows],
                    weights=weights,
                    gated=False,
                    upstream=gradient[rows],
                )
        return gradient

    losses: dict[str, LossGradient] = {name: partial(add, name) for name in tile.layers}
    gradient = network_input_backward(network, backward(network, cache, losses))
    return gradient.astype(np.float64, copy=False)


def tile_grams(
    network: Network, pixels: Array, tile: Tile, guides: Sequence[Guide]
) -> list[dict[str, Array]]:
    """The first pass over a tile, cut for the style layers: as `tile_forward`, the grams alone."""
    return tile_forward(network, pixels, tile, guides, {})[0]


def tile_gradient(
    network: Network,
    pixels: Array,
    tile: Tile,
    guides: Sequence[Guide],
    slopes: Sequence[Mapping[str, Array]],
    targets: Mapping[str, Array],
    alpha: Mapping[str, float],
) -> tuple[dict[str, float], Array]:
    """The second pass over a tile, cut for all layers with a loss: forward and backward.

    Parameters are those of `tile_forward` and `tile_backward`. Returns the tile's shares of the
    content losses and of the gradient.
    """
    _, contents, cache = tile_forward(network, pixels, tile, (), targets)
    return contents, tile_backward(network, cache, tile, guides, slopes, targets, alpha)


def tile_activations(
    network: Network, pixels: Array, tile: Tile, layers: Collection[str]
) -> dict[str, Array]:
    """The activations at a tile's own positions, of those of these layers that it owns any of."""

    def take(name: str, activation: Array) -> Array:
        return _own(tile, name, activation).copy()

    wanted = {name: partial(take, name) for name in tile.layers if name in layers}
    return forward(network, network_input(network, pixels), wanted)[0]


def cropped(arrays: Mapping[str, Array | float], tile: Tile) -> dict[str, Any]:
    """Arrays over the positions of the whole picture's layers, at those that a tile owns."""
    return {
        name: array if isinstance(array, float) else array[tile.own(name)]
        for name, array in arrays.items()
        if name in tile.layers
    }


def _own(tile: Tile, name: str, activation: Array) -> Array:
    """A view of what a tile owns of its own activation."""
    return activation[tile.inside(name)]


def _weights(activation: Array, tile: Tile, name: str, guide: Guide) -> tuple[slice, Array]:
    """The rows in which a tile owns positions, and w in them: 0 where they are not its own.

    Whole rows of an activation lie in one piece of memory, which its own positions do not.
    """
    rows, columns = tile.inside(name)
    weights = np.zeros((rows.stop - rows.start, activation.shape[1]), activation.dtype)
    weights[:, columns] = guide[name]
    return rows, weights


def add_grams(sums: Sequence[dict[str, Array]], shares: Sequence[Mapping[str, Array]]) -> None:
    """Add a tile's shares of the Gram matrices to their sums, in float64."""
    for total, share in zip(sums, shares, strict=True):
        for name, found in share.items():
            total[name] = total[name] + found if name in total else found.astype(np.float64)


def tile_cost(
    network: Network, content: Collection[str], style: Collection[str], size: Size, tile: int
) -> float:
    """How many times the work of an evaluation in one piece the tiles will take.

    Counted in multiplications, of which a pass backward has as many as one forward: halos are
    counted as they are, all else that a tile brings with it is not.

    Parameters
    ----------
    network : Network
    content, style : names of activations
        Where the losses sit.
    size : (height, width)
        Of the picture.
    tile : int
        As in `TiledObjective`.
    """
    wanted = [*content, *style]
    tiles = cut(network, wanted, size, tile)
    if len(tiles) == 1:
        return 1.0
    first, second = (
        sum(
            count * _work(network, layers, style, with_halo)
            for (layers, with_halo), count in Counter((t.layers, t.size) for t in some).items()
        )
        for some in (cut(network, style, size, tile), tiles)
    )
    return (first + 2 * second) / (2 * _work(network, wanted, style, size))


def _work(network: Network, wanted: Collection[str], style: Collection[str], size: Size) -> int:
    """Multiplications of a forward pass with its Gram matrices."""
    depths = {network.depth(name) for name in style}
    work, before = 0, 3
    for index, (layer, (height, width, channels)) in enumerate(shapes(network, wanted, *size)):
        each = before * channels
        if isinstance(layer, Conv):
            work += height * width * each * math.prod(layer.kernel.shape[:2])
        elif isinstance(layer, FastConv):
            work += math.prod(tile_count(height, width)) * each * WINDOW**2
        if index in depths:
            work += height * width * channels**2
        before = channels
    return work
