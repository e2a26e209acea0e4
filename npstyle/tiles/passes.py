"""The two passes over the tiles of a picture, each from arrays to arrays.

A Gram matrix and a content loss are sums over positions. So each is the sum of the shares of the
tiles (`npstyle.tiles.cut`), and so is the gradient. But the derivative of the style term at one
position needs the Gram matrix of all positions,

    G' = sum_t sum_(k in O_t) w_k F_k F_k^T
    dE/dF_k = w_k (D + D^T) F_k,     D = dE/dG' = 1/(2 N^2) (G' - A')

where w_k is 1/M or a guide, and O_t are the positions of tile t. Hence two passes:

1. Each tile runs forward, as deep as the deepest style layer, and computes its share of G'
   (`tile_grams`). Nothing else of it is kept. The sum of the shares (`add_grams`) gives every
   style term and D.
2. Each tile runs forward again, as deep as any loss, computes its own share of the content losses,
   and runs backward with the losses' derivatives at its own positions (`tile_gradient`). The
   gradient at its pixels, halo included, is added to the picture's gradient.

A tile is a region of its layers: its share of a Gram matrix, and of the derivative, is that of a
guide that is 0 outside its own positions. So the engine's functions serve tiles as well.

No function here depends on another tile. The calls may run anywhere and in any order.

A picture that is a single tile runs forward once. Otherwise an evaluation costs a second forward
pass and the work on the halos (`tile_cost`).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.layers import FastConv
from npstyle.engine.passes import Cache, backward, forward, prepare
from npstyle.engine.sizes import WINDOW, tile_count
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv
from npstyle.networks.network import shapes
from npstyle.tiles.cut import Size, Tile, cut

Guide = Mapping[str, Array | float]
"""By style layer, the guide w, (height, width), or one number for all positions."""


def tile_forward(
    bound: BoundNetwork,
    pixels: Array,
    tile: Tile,
    guides: Sequence[Guide],
    targets: Mapping[str, Array],
) -> tuple[list[dict[str, Array]], dict[str, float], Cache]:
    """Run a tile forward.

    Parameters
    ----------
    bound : BoundNetwork
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
    cache = prepare(bound, bound.preprocess(pixels), tile.layers)
    for name, F in forward(bound, cache):
        for found, guide in zip(grams, guides, strict=True):
            if name in guide:
                rows, w = _own_guide(F, tile, name, guide)
                found[name] = bound.engine.gram(F[rows], w)
        if name in targets:
            contents[name] = float(bound.engine.content_loss(_own(tile, name, F), targets[name]))
        del F
    return grams, contents, cache


def tile_backward(
    bound: BoundNetwork,
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
    bound, tile, guides, targets
        As in `tile_forward`.
    cache : Cache
        From `tile_forward`; it is emptied.
    slopes : one dict for each region
        By style layer, beta D = beta dE/dG' of the whole picture, (channels, channels).
    alpha : dict
        By content layer, the weight of its loss.

    Returns
    -------
    float64 array (height, width, 3)
        The tile's share of df/dx, at its pixels with the halo.
    """
    engine = bound.engine
    for name, F, out in backward(bound, cache):
        if name in targets:
            own = _own(tile, name, F)
            engine.content_loss_backward(own, targets[name], alpha[name], _own(tile, name, out))
            del own
        for guide, slope in zip(guides, slopes, strict=True):
            if name in guide:
                rows, w = _own_guide(F, tile, name, guide)
                engine.gram_backward(slope[name], F[rows], w, out[rows])
        del F, out
    gradient = bound.preprocess_backward(cache.take_gradient())
    return gradient.astype(np.float64, copy=False)


def tile_grams(
    bound: BoundNetwork, pixels: Array, tile: Tile, guides: Sequence[Guide]
) -> list[dict[str, Array]]:
    """The first pass over a tile, cut for the style layers: the Gram matrices of `tile_forward`."""
    return tile_forward(bound, pixels, tile, guides, {})[0]


def tile_gradient(
    bound: BoundNetwork,
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
    _, contents, cache = tile_forward(bound, pixels, tile, (), targets)
    return contents, tile_backward(bound, cache, tile, guides, slopes, targets, alpha)


def tile_activations(
    bound: BoundNetwork, pixels: Array, tile: Tile, layers: Collection[str]
) -> dict[str, Array]:
    """Return the activations of some layers at the positions that a tile owns."""
    wanted = [name for name in tile.layers if name in layers]
    own = {}
    for name, F in forward(bound, prepare(bound, bound.preprocess(pixels), wanted)):
        own[name] = _own(tile, name, F).copy()
        del F
    return own


def cropped(arrays: Mapping[str, Array | float], tile: Tile) -> dict[str, Any]:
    """Crop arrays over the positions of the whole picture's layers to the tile's own positions."""
    return {
        name: array if isinstance(array, float) else array[tile.own(name)]
        for name, array in arrays.items()
        if name in tile.layers
    }


def _own(tile: Tile, name: str, activation: Array) -> Array:
    """A view of an activation at the tile's own positions."""
    return activation[tile.inside(name)]


def _own_guide(activation: Array, tile: Tile, name: str, guide: Guide) -> tuple[slice, Array]:
    """The rows with positions of the tile's own, and w there: 0 at positions of other tiles.

    Whole rows of an activation are contiguous in memory, unlike the own positions.
    """
    rows, columns = tile.inside(name)
    w = np.zeros((rows.stop - rows.start, activation.shape[1]), activation.dtype)
    w[:, columns] = guide[name]
    return rows, w


def add_grams(sums: Sequence[dict[str, Array]], shares: Sequence[Mapping[str, Array]]) -> None:
    """Add a tile's shares of the Gram matrices to their sums, in float64."""
    for total, share in zip(sums, shares, strict=True):
        for name, found in share.items():
            total[name] = total[name] + found if name in total else found.astype(np.float64)


def tile_cost(
    bound: BoundNetwork, content: Collection[str], style: Collection[str], size: Size, tile: int
) -> float:
    """Estimate the work of an evaluation by tiles, relative to the whole picture at once.

    The estimate counts multiplications, halos included, and takes a backward pass to need as many
    as a forward pass. It counts no other overhead of the tiles.

    Parameters
    ----------
    bound : BoundNetwork
    content, style : names of activations
        The layers with a loss.
    size : (height, width)
        Of the picture.
    tile : int
        As in `TiledObjective`.
    """
    wanted = [*content, *style]
    tiles = cut(bound.network, wanted, size, tile)
    if len(tiles) == 1:
        return 1.0
    first, second = (
        sum(
            count * _work(bound, layers, style, with_halo)
            for (layers, with_halo), count in Counter((t.layers, t.size) for t in some).items()
        )
        for some in (cut(bound.network, style, size, tile), tiles)
    )
    return (first + 2 * second) / (2 * _work(bound, wanted, style, size))


def _work(bound: BoundNetwork, wanted: Collection[str], style: Collection[str], size: Size) -> int:
    """Count the multiplications of a forward pass with its Gram matrices."""
    network = bound.network
    depths = {network.depth(name) for name in style}
    work, before = 0, 3
    for index, (layer, (height, width, channels)) in enumerate(shapes(network, wanted, *size)):
        each = before * channels
        if isinstance(bound.layers[index], FastConv):
            work += math.prod(tile_count(height, width)) * each * WINDOW**2
        elif isinstance(layer, Conv):
            work += height * width * each * math.prod(layer.kernel.shape[:2])
        if index in depths:
            work += height * width * channels**2
        before = channels
    return work
