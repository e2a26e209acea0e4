"""The pictures of a run: the photo, the paintings and the masks, scaled to the sizes of a run."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.engine.guides import Region, Source
from npstyle.errors import InputError
from npstyle.images.color import grey, luminance, match_colors, match_luminance
from npstyle.images.header import RESULT_BYTES, least_reading_bytes, reading_bytes
from npstyle.images.read import WHITE, image_size, load_image
from npstyle.images.resize import fit_size, resize
from npstyle.maths.array import Array
from npstyle.maths.box import PIXEL_MAX
from npstyle.run.settings import STARTS, Settings
from npstyle.run.table import PAINTINGS, parse_paths, setting

Picture = str | Path | Array
Size = tuple[int, int]

TOLERANCE = 1.0
"""How far an array may go beyond 0..255, by rounding or by sharpening."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run, each a path or an array (height, width, 3), RGB, 0..255.

    Attributes
    ----------
    photo : picture
    paintings : tuple of pictures
        Blended with the weights `Settings.blend`; with masks, each has a region of its own.
    content_masks : tuple of pictures
        Empty, or one per painting: bright where the photo takes that painting's style.
    style_masks : tuple of pictures
        Empty, or one per painting: bright where its style is taken from. Needs `content_masks`.
    """

    photo: Picture
    paintings: tuple[Picture, ...]
    content_masks: tuple[Picture, ...] = setting(
        (),
        "One picture for each painting, bright where the photo takes that painting's style.",
        PAINTINGS,
        option="--content-mask",
        metavar="PICTURE...",
        parse=parse_paths,
        many=True,
    )
    style_masks: tuple[Picture, ...] = setting(
        (),
        "One picture for each painting, bright where its style is taken from.",
        PAINTINGS,
        option="--style-mask",
        metavar="PICTURE...",
        parse=parse_paths,
        many=True,
    )


def check_pictures(pictures: Pictures, settings: Settings) -> tuple[Size, list[Size]]:
    """Return the sizes (height, width) of the photo and of the paintings.

    Raises
    ------
    InputError
        If a picture is missing or cannot be read, or the numbers of paintings, weights and masks
        do not match.
    """
    paintings = len(pictures.paintings)
    if settings.style_layers and not paintings:
        raise InputError("no painting: name at least one picture whose style to take")
    counts = {
        "--blend": len(settings.blend),
        "--content-mask": len(pictures.content_masks),
        "--style-mask": len(pictures.style_masks),
    }
    for option, count in counts.items():
        check_one_each(option, count, paintings)
    if pictures.style_masks and not pictures.content_masks:
        raise InputError("--style-mask: needs --content-mask, the regions of the photo; add it")
    if settings.blend and pictures.content_masks:
        raise InputError(
            "--blend: cannot be combined with --content-mask, which already says where each "
            "painting counts; leave one of them out"
        )
    for mask in (*pictures.content_masks, *pictures.style_masks):
        picture_size(mask)
    return picture_size(pictures.photo), [picture_size(painting) for painting in pictures.paintings]


def check_one_each(option: str, count: int, paintings: int) -> None:
    """Raise InputError unless an option was given once for each painting, or not at all."""
    if count not in (0, paintings):
        raise InputError(
            f"{option}: {count} given for {paintings} painting{'s' * (paintings != 1)}; "
            "give one for each"
        )


def picture_name(picture: Picture) -> str:
    """Return what a record calls a picture: the name of its file, or "array".

    The folders are left out: whoever shares a picture does not share their names. Bytes that are no
    text are written as backslashes and numbers.
    """
    if not isinstance(picture, str | Path):
        return "array"
    return os.fsencode(Path(picture).name).decode("utf-8", "backslashreplace")


def picture_digest(picture: Picture) -> str:
    """Return the SHA-256 of a picture's file, or of the array's bytes."""
    data = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture.tobytes()
    return hashlib.sha256(data).hexdigest()


def pictures_record(kind: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return what a record says about pictures of one kind: their names and SHA-256.

    A single picture is recorded without a list.
    """
    names, digests = list(map(picture_name, pictures)), list(map(picture_digest, pictures))
    if len(pictures) == 1:
        return {kind: names[0], f"{kind}_sha256": digests[0]}
    return {kind: names, f"{kind}_sha256": digests}


def read_record(pictures: Pictures, settings: Settings) -> dict[str, Any]:
    """Return what a record says about the files that a run reads, before one is replaced."""
    record = pictures_record("photo", (pictures.photo,))
    record |= pictures_record("painting", pictures.paintings)
    for kind in ("content_masks", "style_masks"):
        if getattr(pictures, kind):
            record |= pictures_record(kind, getattr(pictures, kind))
    if settings.init not in STARTS:
        picture_size(settings.init)
        record |= pictures_record("init", (settings.init,))
    return record


def files_of(pictures: Pictures) -> list[Path]:
    """Return the files among the pictures of a run."""
    every = (
        pictures.photo,
        *pictures.paintings,
        *pictures.content_masks,
        *pictures.style_masks,
    )
    return [Path(picture) for picture in every if isinstance(picture, str | Path)]


def picture_pixels(picture: Picture, size: Size, background: float = WHITE) -> Array:
    """Return the pixels of a picture, (height, width, 3), RGB, 0..255, resized to a size.

    Where a file is transparent, the grey `background` is seen.
    """
    if isinstance(picture, str | Path):
        return load_image(picture, size, background=background)
    return resize(np.asarray(picture), size)


def picture_size(picture: Picture) -> Size:
    """Return a picture's (height, width) before scaling; raises InputError for a bad array."""
    if isinstance(picture, str | Path):
        return image_size(picture)
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(
            "a picture given as an array must be (height, width, 3), RGB 0..255, "
            f"not {pixels.shape}"
        )
    if pixels.dtype.kind not in "fiub":
        kind = pixels.dtype.type.__name__
        raise InputError(f"a picture given as an array contains {kind}; give numbers 0..255")
    if not np.all(np.isfinite(pixels)):
        raise InputError(
            "a picture given as an array contains NaN or infinity; give numbers 0..255"
        )
    if pixels.min() < -TOLERANCE or pixels.max() > PIXEL_MAX + TOLERANCE:
        raise InputError(
            f"a picture given as an array has values from {pixels.min():g} to {pixels.max():g}; "
            "give numbers 0..255"
        )
    return pixels.shape[0], pixels.shape[1]


def picture_bytes(picture: Picture, size: Size) -> int:
    """Count the bytes that `picture_pixels` takes for a moment, and its result."""
    if isinstance(picture, str | Path):
        return reading_bytes(picture, size)
    return size[0] * size[1] * RESULT_BYTES


def check_readable(pictures: Iterable[Picture], free: int) -> None:
    """Raise InputError if a picture's file cannot be read with so many bytes, even to be tiny.

    Where nothing is free, a smaller picture does not help: the check of the whole run says more.
    """
    for picture in pictures:
        if not isinstance(picture, str | Path):
            continue
        needed = least_reading_bytes(picture)
        if needed > free > 0:
            raise InputError(
                f"{picture}: reading it takes {needed / 1e9:.2f} GB and "
                f"{free / 1e9:.2f} GB are free; scale it down first"
            )


def loading_bytes(pictures: Pictures, settings: Settings) -> int:
    """Count the bytes that `load_scale` takes for the last scale, with what it returns."""
    longest = settings.scale_sizes()[-1]
    size = fit_size(*picture_size(pictures.photo), longest)
    paintings = [
        painting_size(picture_size(painting), longest, settings) for painting in pictures.paintings
    ]
    jobs = [
        (pictures.photo, size),
        *zip(pictures.paintings, paintings, strict=True),
        *((mask, size) for mask in pictures.content_masks),
        *zip(pictures.style_masks, paintings, strict=bool(pictures.style_masks)),
    ]
    # The photo is held twice where its colours are changed.
    held, most = size[0] * size[1] * RESULT_BYTES, 0
    for picture, own in jobs:
        most = max(most, held + picture_bytes(picture, own))
        held += own[0] * own[1] * RESULT_BYTES
    return most


def painting_size(painting: Size, size: int, settings: Settings) -> Size:
    """Return a painting's (height, width) for a result whose longest side is `size`."""
    return fit_size(*painting, max(1, round(size * settings.style_scale)))


def load_scale(
    pictures: Pictures, settings: Settings, scale: int
) -> tuple[Array, Array, list[Region]]:
    """Load the pictures and resize them for one scale.

    Parameters
    ----------
    pictures : Pictures
    settings : Settings
    scale : int
        Index into `settings.scale_sizes()`.

    Returns
    -------
    photo : array (height, width, 3)
        The photo that the content is compared with.
    color_photo : array (height, width, 3)
        The same photo in its own colours.
    regions : list of Region
        Empty if there is no painting.
    """
    longest = settings.scale_sizes()[scale]
    size = fit_size(*picture_size(pictures.photo), longest)
    photo = color_photo = picture_pixels(pictures.photo, size)
    if settings.color == "luminance":
        photo = grey(luminance(photo))
    sources = []
    blend = settings.blend or (1.0,) * len(pictures.paintings)
    for k, (picture, share) in enumerate(zip(pictures.paintings, blend, strict=True)):
        own_size = painting_size(picture_size(picture), longest, settings)
        painting = picture_pixels(picture, own_size)
        if settings.color == "luminance":
            painting = match_luminance(painting, photo)
        elif settings.color == "histogram":
            painting = match_colors(painting, photo)
        mask = _mask(pictures.style_masks[k], own_size) if pictures.style_masks else None
        sources.append(Source(painting, share, mask))
    if not pictures.content_masks:
        return photo, color_photo, [Region(tuple(sources))] if sources else []
    regions = [
        Region((source,), _mask(mask, size))
        for source, mask in zip(sources, pictures.content_masks, strict=True)
    ]
    return photo, color_photo, regions


def _mask(picture: Picture, size: Size) -> Array:
    """Return a mask (height, width), 0..1; it is 0 where the file is transparent."""
    return luminance(picture_pixels(picture, size, background=0)) / 255
