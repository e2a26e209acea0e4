"""The kernels for NVIDIA GPUs: their sources, and the launch shape of each.

The source files are the `.cu` files beside this module. Each opens with its formula and names its
NumPy twin. It includes no other file, so NVRTC compiles it as it is (with CuPy,
`RawModule(code=source(name), options=("-std=c++17",))`). This module gives the launch
shapes of the kernels as plain numbers. It imports no array library, so the shapes can be used and
tested without a GPU.

A function returns a `Launch`: the kernel, the number of blocks, and the threads per block. The
parameters of a kernel are documented at the kernel: integers are int32 unless declared `long long`,
and an array that is not given is a null pointer. The modules `conv`, `winograd`, ... beside this
one call them, as do tests/engine/cuda/routes.py and test_evaluation.py. No kernel adds with
atomics: the same launch gives the same bits.
"""

from importlib.resources import files
from typing import NamedTuple

BLOCK = 256
"""Threads per block of the elementwise kernels and the reductions."""

REDUCTION_BLOCKS = 1024
"""Maximum number of partial sums of a reduction. It must not depend on the GPU, since the result's
last bits depend on it."""

PRODUCT_BLOCKS = 64
"""Maximum number of partial sums of an inner product; it must not depend on the GPU either."""

FEW_CHANNELS = 4
"""Channels of the image up to which the derivative of a convolution uses narrow tiles."""

FEW_FILTERS = 16
"""Filters up to which the derivative with respect to a kernel uses narrow tiles."""

KERNEL_BLOCKS = 512
"""Blocks that share the derivative with respect to a kernel. It must not depend on the GPU, since
the number of partial sums depends on it."""

KERNEL_POSITIONS = 128
"""Minimum number of positions per partial sum of that derivative."""

FEW_TILES = 64
"""Winograd tiles, or channels, up to which the products are computed in small tiles."""

CHUNK = 16
"""Words of input channels per step of the tensor-core convolution."""

_TYPED = {
    "channels": ("channel_sums", "channel_squares", "channel_products"),
    "conv": ("conv2d", "conv2d_backward", "conv2d_backward_few"),
    "conv_weights": (
        "conv2d_backward_weights",
        "conv2d_backward_weights_few",
        "kernel_totals",
    ),
    "depthwise": ("depthwise_conv2d", "depthwise_conv2d_backward"),
    "losses": (
        "squares",
        "tv",
        "tv_backward",
        "content_backward",
        "style_slope",
        "gram_backward",
    ),
    "norm": ("instance_norm", "instance_norm_backward"),
    "pad": ("replicate", "replicate_backward", "reflect", "reflect_backward"),
    "pointwise": ("add", "relu6", "relu6_backward", "sigmoid", "sigmoid_backward"),
    "pool": tuple(
        mode + ending
        for mode in ("avg_pool2d", "max_pool2d", "l2_pool2d")
        for ending in ("", "_backward")
    ),
    "preprocess": ("preprocess", "preprocess_backward"),
    "relu": ("relu", "relu_mask", "relu_backward"),
    "search": ("inner_products",),
}

_UNTYPED = {
    "channels": ("channel_totals",),
    "conv_tensor": (
        *(f"conv3x3_{kind}_{n}" for kind in ("tf32", "fp16") for n in (64, 128)),
        "pack_filters_tf32",
        "pack_filters_fp16",
        "combine_splits",
    ),
    "losses": ("total",),
    "scale": ("largest", "scale_up"),
    "search": ("mirror", "mirror_backward", "inner_products_total"),
    "winograd": (
        "winograd_to_tiles",
        "winograd_to_tiles_backward",
        "winograd_from_tiles",
        *(f"winograd_product_{way}{n}" for way in ("", "flipped_") for n in ("large", "small")),
    ),
}

NAMES = tuple(sorted({*_TYPED, *_UNTYPED}))
"""The source files; `source(name)` is the text of one, a module to compile."""


class Launch(NamedTuple):
    """The shape of one kernel launch.

    Attributes
    ----------
    kernel : str
        The kernel's name in its source.
    grid, block : (int, int, int)
        Number of blocks, and of threads per block.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def source(name: str) -> str:
    """Return the text of a source file, C++17 for NVRTC or nvcc.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    """
    return files("npstyle.engine.cuda").joinpath(f"{name}.cu").read_text(encoding="utf-8")


def kernels(name: str) -> tuple[str, ...]:
    """Return the names of all kernels in a source file."""
    typed = (f"{stem}_{dtype}" for stem in _TYPED.get(name, ()) for dtype in ("float32", "float64"))
    return (*typed, *_UNTYPED.get(name, ()))


def elementwise(kernel: str, count: int) -> Launch:
    """One thread for each of `count` values."""
    return Launch(kernel, (_ceil(count, BLOCK), 1, 1), (BLOCK, 1, 1))


def rows(kernel: str, height: int, row: int) -> Launch:
    """One thread per value of an array (height, row), and a row of blocks for each of its rows."""
    return Launch(kernel, (_ceil(row, BLOCK), height, 1), (BLOCK, 1, 1))


def reduction(kernel: str, count: int) -> Launch:
    """Reduce `count` values to one partial sum per block, which `total` adds."""
    blocks = min(REDUCTION_BLOCKS, _ceil(count, 8 * BLOCK))
    return Launch(kernel, (blocks, 1, 1), (BLOCK, 1, 1))


def channel_sums(kernel: str, positions: int, channels: int) -> Launch:
    """Sum an image of so many positions and channels over the positions, channel by channel.

    Each block writes one partial sum for each of its channels, and `channel_totals` adds them.
    """
    at_once = BLOCK // min(channels, BLOCK)
    blocks = min(REDUCTION_BLOCKS, _ceil(positions, 8 * at_once))
    return Launch(kernel, (blocks, _ceil(channels, BLOCK), 1), (BLOCK, 1, 1))


def channel_totals(channels: int) -> Launch:
    """Add the partial sums of `channel_sums`: one block for each channel."""
    return Launch("channel_totals", (channels, 1, 1), (BLOCK, 1, 1))


def inner_products(dtype: str, rows: int, count: int) -> Launch:
    """Inner products of `rows` rows of `count` values with a vector."""
    blocks = min(PRODUCT_BLOCKS, _ceil(count, 8 * BLOCK))
    return Launch(f"inner_products_{dtype}", (blocks, rows, 1), (BLOCK, 1, 1))


SCALE_UP = Launch("scale_up", (1, 1, 1), (BLOCK, 1, 1))
"""Finds a power of two from the results of `largest`."""

TOTAL = Launch("total", (1, 1, 1), (BLOCK, 1, 1))
"""Adds the partial sums of a reduction."""


def conv2d(dtype: str, out_height: int, out_width: int, filters: int) -> Launch:
    """The general convolution in `dtype`, "float32" or "float64"."""
    grid = (_ceil(out_height * out_width, 64), _ceil(filters, 64), 1)
    return Launch(f"conv2d_{dtype}", grid, (256, 1, 1))


def conv2d_backward(dtype: str, height: int, width: int, channels: int) -> Launch:
    """The derivative of the general convolution with respect to an image of this shape."""
    if channels <= FEW_CHANNELS:
        return Launch(
            f"conv2d_backward_few_{dtype}", (_ceil(height * width, 128), 1, 1), (64, 1, 1)
        )
    grid = (_ceil(height * width, 64), _ceil(channels, 64), 1)
    return Launch(f"conv2d_backward_{dtype}", grid, (256, 1, 1))


def conv2d_backward_weights(dtype: str, positions: int, rows: int, filters: int) -> Launch:
    """The derivative of the general convolution with respect to its kernel.

    Parameters
    ----------
    dtype : "float32" or "float64"
    positions : int
        Of the upstream gradient.
    rows, filters : int
        Taps times channels in, and channels out, of the kernel. grid[2] is the number of partial
        sums, which `kernel_totals` adds.
    """
    few = filters <= FEW_FILTERS
    tiles = _ceil(rows, 128 if few else 64), _ceil(filters, FEW_FILTERS if few else 64)
    wanted = KERNEL_BLOCKS // (tiles[0] * tiles[1])
    parts = max(1, min(wanted, positions // KERNEL_POSITIONS))
    parts = _ceil(positions, _ceil(positions, parts))  # no part is left without a position
    kernel = f"conv2d_backward_weights_{'few_' if few else ''}{dtype}"
    return Launch(kernel, (*tiles, parts), (128 if few else 256, 1, 1))


def winograd_transform(kernel: str, tile_rows: int, tile_columns: int, channels: int) -> Launch:
    """A transform to tiles or from tiles: one thread per tile and channel."""
    return Launch(kernel, (_ceil(tile_rows * tile_columns * channels, 128), 1, 1), (128, 1, 1))


def winograd_product(tiles: int, columns: int, flipped: bool = False) -> Launch:
    """The 36 products; `columns` is the number of channels of the result."""
    small = tiles <= FEW_TILES or columns <= FEW_TILES
    side = 64 if small else 128
    kernel = f"winograd_product_{'flipped_' if flipped else ''}{'small' if small else 'large'}"
    grid = (_ceil(columns, side), _ceil(tiles, side), 36)
    return Launch(kernel, grid, (128 if small else 256, 1, 1))


def tensor_words(precision: str, channels: int) -> int:
    """Number of words per tap and column of packed filters.

    Parameters
    ----------
    precision : "tf32" or "fp16"
    channels : int
        Of the input.
    """
    words = channels if precision == "tf32" else _ceil(channels, 2)
    return _ceil(words, CHUNK) * CHUNK


def tensor_columns(columns: int) -> int:
    """Number of columns of packed filters; `columns` is that of the output's channels."""
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
    precision : "tf32" or "fp16"
    height, width : int
        Of the image.
    channels, columns : int
        Of the array that is read, and of the one that is written.
    multiprocessors : int
        Of the GPU. If there are fewer tiles than two blocks per multiprocessor, several blocks
        share a tile: they write grid[2] > 1 partial sums, which `combine_splits` adds. Another
        number of multiprocessors gives another order of addition.
    """
    block = _block_columns(columns)
    tiles = _ceil(height, 8) * _ceil(width, 16)
    across = _ceil(columns, block)
    chunks = tensor_words(precision, channels) // CHUNK
    wanted = max(1, min(chunks, 2 * multiprocessors // (tiles * across)))
    splits = _ceil(chunks, _ceil(chunks, wanted))  # no split is left without a chunk
    return Launch(f"conv3x3_{precision}_{block}", (tiles, across, splits), (2 * block, 1, 1))


def _block_columns(columns: int) -> int:
    return 64 if columns <= 64 else 128


def _ceil(count: int, at_once: int) -> int:
    return -(-count // at_once)
