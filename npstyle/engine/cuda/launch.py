"""The kernels for NVIDIA cards: their sources, and the launch shape of each.

The `.cu` files beside this one are the chapters; each opens with its formula and names its NumPy
twin. A chapter includes nothing, so NVRTC takes it as it is (with CuPy,
`RawModule(code=source(name), options=("-std=c++17",))`). Here is what a launcher needs to know of
them, in plain numbers: no array library is imported, so that the shapes can be used (and tested)
where there is no card.

A helper returns a `Launch`: which kernel, how many blocks, how many threads in each. What a kernel
takes is written at the kernel; integers are int32 unless it says `long long`, and an array that is
not wanted is a null pointer. tests/engine/cuda/routes.py and tests/engine/cuda/test_evaluation.py call them in
order. No kernel adds by atomics: the same launch gives the same bits.
"""

from importlib.resources import files
from typing import NamedTuple

BLOCK = 256
"""Threads in a block of the kernels that work value by value."""

REDUCTION_BLOCKS = 1024
"""Partial sums of a reduction at most; their number must not depend on the card."""

PRODUCT_SHARES = 64
"""Partial sums of an inner product at most; likewise."""

FEW_CHANNELS = 4
"""With no more channels in than this, a convolution's derivative takes narrow tiles."""

FEW_TILES = 64
"""With no more Winograd tiles than this, the products take small tiles."""

CHUNK = 16
"""Words of input channels that the tensor-core convolution takes at a time."""

_TYPED = {
    "conv": ("conv2d", "conv2d_backward", "conv2d_backward_few"),
    "losses": (
        "squares",
        "tv",
        "tv_backward",
        "content_backward",
        "style_slope",
        "style_backward",
    ),
    "pad": ("replicate", "replicate_backward"),
    "pool": tuple(
        mode + ending
        for mode in ("avg_pool2d", "max_pool2d", "l2_pool2d")
        for ending in ("", "_backward")
    ),
    "preprocess": ("preprocess", "preprocess_backward"),
    "relu": ("relu", "relu_gate", "relu_backward"),
}

_UNTYPED = {
    "conv_tensor": (
        *(f"conv3x3_{kind}_{n}" for kind in ("tf32", "float16") for n in (64, 128)),
        "pack_filters_tf32",
        "pack_filters_float16",
        "largest",
        "scale_up",
        "combine_splits",
    ),
    "losses": ("total",),
    "search": ("mirror", "mirror_backward", "inner_products", "inner_products_total"),
    "winograd": (
        "winograd_to_tiles",
        "winograd_to_tiles_backward",
        "winograd_from_tiles",
        *(f"winograd_product_{way}{n}" for way in ("", "turned_") for n in ("large", "small")),
    ),
}

NAMES = tuple(sorted({*_TYPED, *_UNTYPED}))
"""The chapters: `source(name)` for each is one module to compile."""


class Launch(NamedTuple):
    """One launch of a kernel.

    Attributes
    ----------
    kernel : str
        The kernel's name in its source.
    grid, block : (int, int, int)
        Blocks, and threads in each.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def source(name: str) -> str:
    """Text of a chapter, to be compiled as C++17 by NVRTC or nvcc.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    """
    return files("npstyle.engine.cuda").joinpath(f"{name}.cu").read_text(encoding="utf-8")


def kernels(name: str) -> tuple[str, ...]:
    """Names of all kernels in a chapter."""
    typed = (f"{stem}_{dtype}" for stem in _TYPED.get(name, ()) for dtype in ("float32", "float64"))
    return (*typed, *_UNTYPED.get(name, ()))


def elementwise(kernel: str, count: int) -> Launch:
    """One thread for each of `count` values."""
    return Launch(kernel, (_ceil(count, BLOCK), 1, 1), (BLOCK, 1, 1))


def rows(kernel: str, height: int, row: int) -> Launch:
    """One thread for each of `row` values of a line, and a line of blocks for each of `height`."""
    return Launch(kernel, (_ceil(row, BLOCK), height, 1), (BLOCK, 1, 1))


def reduction(kernel: str, count: int) -> Launch:
    """Sum `count` values; as many partial sums as there are blocks, for `total`."""
    blocks = min(REDUCTION_BLOCKS, _ceil(count, 8 * BLOCK))
    return Launch(kernel, (blocks, 1, 1), (BLOCK, 1, 1))


def inner_products(rows: int, count: int) -> Launch:
    """Inner products of `rows` rows of `count` values with three of them."""
    shares = min(PRODUCT_SHARES, _ceil(count, 8 * BLOCK))
    return Launch("inner_products", (shares, rows, 1), (BLOCK, 1, 1))


SCALE_UP = Launch("scale_up", (1, 1, 1), (BLOCK, 1, 1))
"""From the largest values of `largest`, a power of two."""

TOTAL = Launch("total", (1, 1, 1), (BLOCK, 1, 1))
"""Adds the partial sums of a reduction."""


def conv2d(dtype: str, out_height: int, out_width: int, filters: int) -> Launch:
    """The general convolution; `dtype` is "float32" or "float64", as in the kernel's name."""
    grid = (_ceil(out_height * out_width, 64), _ceil(filters, 64), 1)
    return Launch(f"conv2d_{dtype}", grid, (256, 1, 1))


def conv2d_backward(dtype: str, height: int, width: int, channels: int) -> Launch:
    """Its derivative with respect to an image of this shape."""
    if channels <= FEW_CHANNELS:
        return Launch(
            f"conv2d_backward_few_{dtype}", (_ceil(height * width, 128), 1, 1), (64, 1, 1)
        )
    grid = (_ceil(height * width, 64), _ceil(channels, 64), 1)
    return Launch(f"conv2d_backward_{dtype}", grid, (256, 1, 1))


def winograd_transform(kernel: str, tile_rows: int, tile_columns: int, channels: int) -> Launch:
    """To tiles or from them: one thread per tile and channel."""
    return Launch(kernel, (_ceil(tile_rows * tile_columns * channels, 128), 1, 1), (128, 1, 1))


def winograd_product(tiles: int, columns: int, turned: bool = False) -> Launch:
    """The 36 products; `columns` are the channels that come out."""
    small = tiles <= FEW_TILES or columns <= FEW_TILES
    side = 64 if small else 128
    kernel = f"winograd_product_{'turned_' if turned else ''}{'small' if small else 'large'}"
    grid = (_ceil(columns, side), _ceil(tiles, side), 36)
    return Launch(kernel, grid, (128 if small else 256, 1, 1))


def tensor_words(precision: str, channels: int) -> int:
    """Words per tap and column of packed filters for that many channels of the input.

    Parameters
    ----------
    precision : "tf32" or "float16"
    channels : int
    """
    words = channels if precision == "tf32" else _ceil(channels, 2)
    return _ceil(words, CHUNK) * CHUNK


def tensor_columns(columns: int) -> int:
    """Columns of packed filters for that many channels of the output."""
    block = _block_columns(columns)
    return _ceil(columns, block) * block


def tensor_conv(
    precision: str,
    height: int,
    width: int,
    channels: int,
    columns: int,
    multiprocessors: int = 132,
) -> Launch:
    """The 3x3 convolution on tensor cores.

    Parameters
    ----------
    precision : "tf32" or "float16"
    height, width : int
        Of the picture.
    channels, columns : int
        Of the input and of the output (backward: the other way round).
    multiprocessors : int
        Of the card. If two blocks on each are more than the tiles give, blocks share a tile: then
        grid[2] > 1 parts are written, which `combine_splits` adds. Another number adds in another
        order.
    """
    block = _block_columns(columns)
    tiles = _ceil(height, 8) * _ceil(width, 16)
    across = _ceil(columns, block)
    chunks = tensor_words(precision, channels) // CHUNK
    wanted = max(1, min(chunks, 2 * multiprocessors // (tiles * across)))
    splits = _ceil(chunks, _ceil(chunks, wanted))  # none that would find nothing left to do
    return Launch(f"conv3x3_{precision}_{block}", (tiles, across, splits), (2 * block, 1, 1))


def _block_columns(columns: int) -> int:
    return 64 if columns <= 64 else 128


def _ceil(count: int, at_once: int) -> int:
    return -(-count // at_once)
