"""The picture that the search starts from.

`one-pass` paints the photo with the network that takes any painting (`npstyle.onepass`). The search
then begins at a much lower loss. A search from the photo catches up slowly; after some 40
evaluations little of the gain is left. `auto` is `one-pass` for searches that end before, else the
photo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from npstyle.engine.feedforward.memory import paint_bytes
from npstyle.engine.guides import Region, Source
from npstyle.errors import InputError
from npstyle.images.color import with_statistics
from npstyle.images.read import load_image
from npstyle.images.resize import fit_size, resize
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.networks.style_network import load_style_network
from npstyle.networks.weights import find_weights
from npstyle.onepass.styles import ANY_STYLE
from npstyle.onepass.stylize import (
    LEAST_SIDE,
    LONGEST_READ,
    READ_SIDE,
    BoundStyleNetwork,
    bind_style_network,
    blended_code,
    paint,
    read_code,
    read_size,
)
from npstyle.run.machine import largest_side
from npstyle.run.pictures import Picture, Size, picture_pixels, picture_size
from npstyle.run.settings import ONE_PASS_ITERATIONS, Settings
from npstyle.run.stylize import PAINT_BYTES, THREAD_BYTES
from npstyle.search.coordinates import COLORS, NOISE_COLORS, Colors

NOISE_DEVIATION = 10.0
"""Standard deviation of the white noise around middle grey, in pixel values 0..255. Stronger noise
leaves grain that pooling hides from the network."""

PHOTO_BYTES = 56
"""Bytes for each pixel of the photo while the start is made: the photo and the start in float64,
and one channel that is resized."""

SUM_BYTES = 32
"""Bytes for each painted pixel besides those of one pass: the sums over regions, in float64."""


@dataclass(frozen=True)
class Start:
    """What a search starts from.

    Attributes
    ----------
    init : str
        As in the settings, but not "auto".
    note : str
        Why "auto" chose it, and whether it is painted smaller; may be empty.
    painted : (height, width) or None
        The size at which one pass paints the photo; None if it does not.
    memory : int
        Bytes that painting takes beyond what the process holds.
    """

    init: str
    note: str = ""
    painted: Size | None = None
    memory: int = 0


def choose_start(
    settings: Settings, photo: Size, paintings: int, threads: int, memory: int
) -> Start:
    """Choose what a search starts from, and the size at which one pass paints it.

    Parameters
    ----------
    settings : Settings
    photo : (height, width)
        At the first scale.
    paintings : int
        Their number.
    threads : int
    memory : int
        Bytes that painting may take. If they do not suffice for the photo's size, one pass paints
        it smaller, and the picture is enlarged.

    Raises
    ------
    InputError
        If "one-pass" is wanted and there is no painting, or the photo is too small.
    """
    if settings.init not in ("auto", "one-pass"):
        return Start(settings.init)
    is_auto = settings.init == "auto"
    if is_auto and (reason := _reason_for_photo(settings, photo, paintings)):
        return Start("content", f"--init auto: {reason}")
    if not paintings:
        raise InputError("--init one-pass: needs a painting, and there is none; give --init noise")
    if min(photo) < LEAST_SIDE:
        raise InputError(
            f"--init one-pass: needs {LEAST_SIDE} pixels or more on each side, and the search "
            f"starts at {photo[1]}x{photo[0]}; use a larger size, or --init content"
        )
    size = _painted_size(photo, threads, memory)
    needed = _start_bytes(photo, size, threads)
    if is_auto and needed > memory:
        return Start("content", "--init auto: memory does not suffice for one pass")
    notes = [f"--init auto: one pass helps up to {ONE_PASS_ITERATIONS} iterations"] * is_auto
    if size != photo:
        notes.append(f"painted at {size[1]}x{size[0]} and enlarged, to fit into memory")
    return Start("one-pass", "; ".join(notes), size, needed)


def _reason_for_photo(settings: Settings, photo: Size, paintings: int) -> str:
    """Return why "auto" starts from the photo, or nothing if it need not."""
    if settings.iterations > ONE_PASS_ITERATIONS:
        return f"one pass would help only up to {ONE_PASS_ITERATIONS} iterations"
    if not paintings:
        return "there is no painting"
    if settings.scaling == "sums":
        return "with the paper's sums the result stays close to the photo"
    if min(photo) < LEAST_SIDE:
        return f"one pass needs {LEAST_SIDE} pixels or more on each side"
    return ""


def _painted_size(photo: Size, threads: int, memory: int) -> Size:
    """Return the photo's size, or else the largest that fits into memory, or else the least."""
    if _start_bytes(photo, photo, threads) <= memory:
        return photo
    longest = max(photo)
    least = -(-LEAST_SIDE * longest // min(photo))

    def needed(side: int) -> int:
        return _start_bytes(photo, fit_size(*photo, side), threads)

    return fit_size(*photo, largest_side(least, longest, needed, memory) or least)


def _start_bytes(photo: Size, size: Size, threads: int) -> int:
    """Count the bytes for painting a photo at another size."""
    network = _any_style()
    assert network.predictor is not None
    held = photo[0] * photo[1] * PHOTO_BYTES + threads * THREAD_BYTES
    painted = size[0] * size[1] * (PAINT_BYTES + SUM_BYTES) + paint_bytes(
        network.transformer, *size
    )
    return held + max(painted, paint_bytes(network.predictor, READ_SIDE, LONGEST_READ))


@lru_cache(maxsize=1)
def _any_style() -> BoundStyleNetwork:
    """Load the network that takes any painting; it paints on the CPU, wherever the search is."""
    return bind_style_network(load_style_network(find_weights(ANY_STYLE)))


def starting_picture(settings: Settings, photo: Array, painting: Array | None) -> Array:
    """Return the picture (height, width, 3) that the search starts from, in the photo's size.

    Parameters
    ----------
    settings : Settings
        `init` and `seed` are used. `painted_picture` is for "one-pass".
    photo, painting : arrays (height, width, 3), 0..255
        The painting may be None if `init` does not need it.

    Raises
    ------
    InputError
        If `settings.init` is a file that cannot be read.
    """
    height, width = photo.shape[:2]
    rng = np.random.default_rng(settings.seed)
    if settings.init == "content":
        return photo
    if settings.init == "noise":
        noise = rng.normal(0, NOISE_DEVIATION, photo.shape)
        return np.clip(PIXEL_MAX / 2 + noise, 0, PIXEL_MAX)
    if settings.init == "style" and painting is not None:
        return resize(painting, (height, width))
    if settings.init == "style-stats" and painting is not None:
        return with_statistics(rng.standard_normal(photo.shape), painting)
    return load_image(settings.init, (height, width))


def painted_picture(
    photo: Array,
    regions: Sequence[Region],
    paintings: Sequence[Picture],
    settings: Settings,
    size: Size,
) -> Array:
    """Paint the photo in one pass; with regions, each in its own style.

    Parameters
    ----------
    photo : array (height, width, 3), 0..255
    regions : sequence of Region
        Where they overlap, their pictures are averaged; between them the photo remains.
    paintings : sequence of pictures
        Those of the sources of all regions, as the user gave them.
    settings : Settings
        `color` is used.
    size : (height, width)
        At which the photo is painted; `Start.painted`.

    Returns
    -------
    array (height, width, 3), 0..255
        In the photo's size.
    """
    network, small = _any_style(), resize(photo, size)
    given = iter(paintings)
    picture, covered = np.zeros(small.shape), np.zeros((*size, 1))
    for region in regions:
        codes = [read_code(network, _style_of(s, next(given), settings)) for s in region.sources]
        code = blended_code(codes, [source.blend for source in region.sources])
        share = np.ones((*size, 1))
        if region.mask is not None:
            share = resize(region.mask[..., None] * PIXEL_MAX, size) / PIXEL_MAX
        picture += share * paint(network, small, code)
        covered += share
    picture += np.maximum(1 - covered, 0) * small
    picture /= np.maximum(covered, 1)
    _any_style.cache_clear()  # the search needs the memory more than the next run its network
    return resize(picture, photo.shape[:2])


def _style_of(source: Source, painting: Picture, settings: Settings) -> Array:
    """Return the pixels whose style one pass reads.

    They are those of the file, as `npstyle stylize` reads them, unless their colours were changed,
    or a mask says which part of the painting counts: the smallest rectangle around this part.
    """
    if source.mask is not None:
        rows, columns = (np.flatnonzero(source.mask.max(axis=k) > 0.5) for k in (1, 0))
        if rows.size:
            return source.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if source.mask is not None or settings.color != "painting":
        return source.pixels
    return picture_pixels(painting, read_size(*picture_size(painting)))


def search_colors(settings: Settings, scale: int = 0) -> Colors | None:
    """Return the factors of the colours for the search at a scale; None if it moves pixels."""
    if settings.precondition == "off":
        return None
    return NOISE_COLORS if settings.init == "noise" and scale == 0 else COLORS
