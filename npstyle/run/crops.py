"""Photos to train on: a folder of files, and random squares out of them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.images.read import SUFFIXES, image_size, load_image
from npstyle.images.resize import resize
from npstyle.maths.array import Array

LEAST_PHOTOS = 10
"""Fewer photos would be learned by heart."""

ZOOM = 2.0
"""Largest square that is scaled down to a crop, in sides of the crop."""

HELD = 500
"""Decoded photos that are held in memory, in 8 bits."""


def usable_photos(folder: Path, side: int, skipped: Callable[[str], None]) -> tuple[Path, ...]:
    """Return the photos of a folder, and of the folders in it, that have this shorter side.

    Parameters
    ----------
    folder : Path
    side : int
        Least shorter side in pixels.
    skipped : callable
        Called with a line of text for every photo that cannot be used.

    Raises
    ------
    InputError
        If there is no such folder, or fewer than `LEAST_PHOTOS` photos can be used.
    """
    if not folder.is_dir():
        raise InputError(f"--photos {folder}: there is no such folder; check the name")
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            height, width = image_size(path)
        except InputError as error:
            skipped(f"skipped   {error}")
            continue
        if min(height, width) < side:
            skipped(f"skipped   {path}: {width}x{height} pixels; {side} on each side are needed")
        else:
            found.append(path)
    if len(found) < LEAST_PHOTOS:
        raise InputError(
            f"--photos {folder}: has {len(found)} photos of {side}x{side} pixels or more; a "
            f"training needs {LEAST_PHOTOS}, and some hundreds are better"
        )
    return tuple(found)


class Crops:
    """Random crops of photos; the same numbers draw the same crops.

    Parameters
    ----------
    photos : sequence of Path
    side : int
        Of a crop, in pixels.
    skipped : callable
        Called with a line of text for every photo that turns out to be damaged; another one is
        drawn in its place.
    """

    def __init__(self, photos: Sequence[Path], side: int, skipped: Callable[[str], None]) -> None:
        self.photos, self.side = tuple(photos), side
        self._skipped, self._damaged = skipped, set[Path]()
        self._load = lru_cache(maxsize=HELD)(self._decode)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw a square of a random size and place, scale it to a crop, and mirror every other one.

        Returns
        -------
        float64 array (side, side, 3), RGB, 0..255

        Raises
        ------
        InputError
            If all photos are damaged.
        """
        photo = self._draw_photo(rng)
        height, width, _ = photo.shape
        square = int(rng.integers(self.side, min(round(ZOOM * self.side), height, width) + 1))
        top = int(rng.integers(height - square + 1))
        left = int(rng.integers(width - square + 1))
        crop = photo[top : top + square, left : left + square].astype(np.float64)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return resize(crop, (self.side, self.side))

    def _draw_photo(self, rng: np.random.Generator) -> Array:
        while len(self._damaged) < len(self.photos):
            path = self.photos[int(rng.integers(len(self.photos)))]
            try:
                return self._load(path)
            except InputError as error:
                if path not in self._damaged:
                    self._skipped(f"skipped   {error}")
                self._damaged.add(path)
        raise InputError(f"--photos: all {len(self.photos)} photos are damaged; give others")

    def _decode(self, path: Path) -> Array:
        """The photo, scaled down so that its shorter side is the largest square, in 8 bits."""
        height, width = image_size(path)
        factor = max(1.0, min(height, width) / round(ZOOM * self.side))
        pixels = load_image(path, round(max(height, width) / factor))
        return np.round(np.clip(pixels, 0, 255)).astype(np.uint8)


def crops_bytes(count: int, side: int) -> int:
    """Count the bytes of the photos that are held, if they are half as wide again as high."""
    return min(count, HELD) * int(1.5 * (ZOOM * side) ** 2) * 3
