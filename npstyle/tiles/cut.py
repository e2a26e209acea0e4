"""Cut a picture into tiles: the pixels that each needs, and the positions of the layers it owns.

The receptive field
-------------------
Along one axis, a layer with kernel k, stride s and padding p reads the positions

    s y - p, ..., s y - p + k - 1

of the layer before it. Over the layers this adds up: position y of layer l reads the R_l pixels
from S_l y - P_l on, its receptive field, with

    R_l = R_(l-1) + (k - 1) S_(l-1)     P_l = P_(l-1) + p S_(l-1)     S_l = S_(l-1) s

and R = S = 1, P = 0 at the pixels. A ReLU changes nothing. (VGG-19's conv5_1 reads 156 pixels from
16 y - 70 on.)

Why tiles are exact
-------------------
A tile is the pixels [a, b) of each axis, run through the network as a picture of its own. Let a be
a multiple of S_l. Then position y of the whole picture's layer l is position y - a / S_l of the
tile's, and

    both have the same value if the receptive field of y, as far as it lies in the picture, lies in
    the tile.

Proof by induction over the layers: the window of y in the layer before holds padding, and positions
of the picture whose receptive fields are parts of that of y, so they have the right values. At the
beginning of the picture the tile must begin with it (a = 0), so its padding is the picture's, and
likewise at the end. Where the tile ends but the picture goes on, the tile pads where the picture
does not. Every window with such padding belongs to a position whose receptive field crosses the
cut: the wrong values stay closer to the cut than a receptive field. (This needs p < k, or a window
could hold nothing but padding. Such networks are refused. Replicate padding uses the edge pixel,
which is in the window itself.)

So sums over positions are sums over tiles. Let the positions of layer l be divided into sets O_t,
those owned by tile t, each with its receptive field in tile t. Then

    G = sum_t sum_(k in O_t) F_k F_k^T          sum (F - P)^2 = sum_t sum_(k in O_t) (F_k - P_k)^2

and the derivative of a function L of these sums at the pixels x is

    dL/dx = sum_t sum_(k in O_t) (dF_k/dx)^T dL/dF_k

where tile t alone gives the t-th term: a backward pass through its own activations, with dL/dF_k at
its own positions and 0 elsewhere. From a position that the tile owns, the chain rule leads only
through positions whose receptive fields are parts of that position's. There the values, the ReLU
masks and the winners of max pooling are right in the tile. The gradient at the halo's pixels is
added to that of the neighbours.

Which positions a tile owns
---------------------------
All cuts are multiples of the cell C, the stride of the deepest wanted layer (every S_l divides it).
The tile cut out at [A, B) owns the positions A / S_l <= y < B / S_l of layer l. The last tile owns
all that is left; for an odd size, this includes the row that the pooling after the layer drops. So
for layer l a tile needs the pixels

    A - P_l, ..., B - S_l - P_l + R_l - 1

as far as they lie in the picture. The tile with its halo begins at the last multiple of C that is
not after any of them, and ends with the last of them. The end need not be a multiple of C.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

from npstyle.engine.strips import pieces
from npstyle.errors import InputError
from npstyle.maths.layers import Conv, Pool
from npstyle.networks.network import Network, shapes

Size = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """Along one axis, position y reads the `size` pixels from `stride` y - `offset` on.

    In the symbols above: S, R and P.
    """

    stride: int
    size: int
    offset: int

    def of(self, first: int, end: int) -> tuple[int, int]:
        """Range of pixels that the positions first..end read; it may reach beyond the picture."""
        return self.stride * first - self.offset, self.stride * (end - 1) - self.offset + self.size


@dataclass(frozen=True)
class Span:
    """A tile along one axis.

    Attributes
    ----------
    core : slice
        The pixels of the tile without its halo; the cores of all spans make the whole axis.
    pixels : slice
        The pixels with the halo, within the picture: those that the tile runs on.
    own : dict of slices
        By wanted layer, the positions that it owns, in the whole picture's layer.
    inside : dict of slices
        The same positions in the tile's own layer.
    """

    core: slice
    pixels: slice
    own: dict[str, slice]
    inside: dict[str, slice]


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and the positions of each layer that it owns."""

    rows: Span
    columns: Span

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Its place in the picture, with its halo."""
        return self.rows.pixels, self.columns.pixels

    @property
    def size(self) -> Size:
        """Height and width with its halo."""
        return _length(self.rows.pixels), _length(self.columns.pixels)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in which it owns positions; it need not run deeper."""
        return tuple(name for name in self.rows.own if name in self.columns.own)

    def own(self, layer: str) -> tuple[slice, slice]:
        """Its positions of a layer in the whole picture's layer."""
        return self.rows.own[layer], self.columns.own[layer]

    def inside(self, layer: str) -> tuple[slice, slice]:
        """Its positions of a layer in the tile's own layer."""
        return self.rows.inside[layer], self.columns.inside[layer]


def receptive_field(network: Network, name: str, axis: int = 0) -> ReceptiveField:
    """Receptive field of an activation's positions, along the height (axis 0) or the width.

    Raises
    ------
    InputError
        If there is no such activation, or a layer pads by as much as its kernel.
    """
    stride, size, offset = 1, 1, 0
    for layer in network.layers[: network.depth(name) + 1]:
        match layer:
            case Conv():
                kernel, step, padding = layer.kernel.shape[axis], layer.stride, layer.padding
            case Pool():
                kernel, step, padding = layer.size, layer.stride, 0
            case _:
                continue
        if padding >= kernel:
            raise InputError(
                f"--tile: layer {layer.name} of network {network.name} pads by {padding} with a "
                f"kernel of {kernel}, so a window at the edge may hold only padding; use --tile off"
            )
        size += (kernel - 1) * stride
        offset += padding * stride
        stride *= step
    return ReceptiveField(stride, size, offset)


def cell(network: Network, wanted: Collection[str]) -> int:
    """C, the side of the smallest tile: the stride of the deepest wanted layer, in pixels."""
    return max((receptive_field(network, name).stride for name in wanted), default=1)


def cut(network: Network, wanted: Collection[str], size: Size, tile: int) -> list[Tile]:
    """Cut a picture into tiles, row by row.

    Parameters
    ----------
    network : Network
    wanted : names of activations
        The layers with a loss; their positions are divided among the tiles.
    size : (height, width)
        Of the picture.
    tile : int
        Longest side of a tile without its halo, in pixels. Cuts lie at multiples of the cell. The
        tiles are as equal in size as possible. A tile that owns no position is left out.

    Raises
    ------
    InputError
        If the tile is smaller than a cell, the picture is too small for a layer, a layer is
        unknown, or the network cannot be cut.
    """
    return [
        Tile(rows, columns)
        for rows, columns in product(
            spans(network, wanted, size, tile, 0), spans(network, wanted, size, tile, 1)
        )
        if set(rows.own) & set(columns.own)
    ]


def spans(
    network: Network, wanted: Collection[str], size: Size, tile: int, axis: int
) -> list[Span]:
    """The tiles of `cut` along one axis, the height (0) or the width, without empty ones."""
    names = list(dict.fromkeys(map(network.canonical, wanted)))
    C, outputs = cell(network, names), shapes(network, names, *size)
    if tile < C:
        raise InputError(
            f"--tile {tile}: the deepest layer has one position per {C} pixels; "
            f"use --tile {C} or more"
        )
    fields = {name: receptive_field(network, name, axis) for name in names}
    lengths = {name: outputs[network.depth(name)][1][axis] for name in names}
    cells = -(-size[axis] // C)
    cores = [(first * C, end * C) for first, end in pieces(cells, -(-cells // (tile // C)))]
    found = [_span(fields, lengths, C, size[axis], core) for core in cores]
    return [span for span in found if span.own]


def largest_size(network: Network, wanted: Collection[str], size: Size, tile: int) -> Size:
    """Height and width, halo included, that no tile of `cut` exceeds."""
    height, width = (
        max((_length(span.pixels) for span in spans(network, wanted, size, tile, axis)), default=0)
        for axis in (0, 1)
    )
    return height, width


def _span(
    fields: dict[str, ReceptiveField],
    lengths: dict[str, int],
    C: int,
    length: int,
    core: tuple[int, int],
) -> Span:
    own = {}
    start, stop = length, 0
    for name, field in fields.items():
        first = min(core[0] // field.stride, lengths[name])
        end = min(core[1] // field.stride, lengths[name]) if core[1] < length else lengths[name]
        if first < end:
            own[name] = first, end
            seen = field.of(first, end)
            start, stop = min(start, max(0, seen[0])), max(stop, min(length, seen[1]))
    start = start // C * C
    inside = {
        name: slice(first - start // fields[name].stride, end - start // fields[name].stride)
        for name, (first, end) in own.items()
    }
    return Span(
        slice(core[0], min(core[1], length)),
        slice(start, stop),
        {name: slice(*positions) for name, positions in own.items()},
        inside,
    )


def _length(pixels: slice) -> int:
    length: int = pixels.stop - pixels.start
    return length
