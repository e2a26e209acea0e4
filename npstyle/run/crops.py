"""Photos to train on: a folder of files, and random squares out of them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from heapq import nlargest
from math import prod
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.images.formats import SUFFIXES
from npstyle.images.header import reading_bytes
from npstyle.images.read import image_size, load_image
from npstyle.images.resize import resize
from npstyle.maths.array import Array

LEAST_PHOTOS = 10
"""Fewer photos would be learned by heart."""

ZOOM = 2.0
"""Largest square that is scaled down to a crop, in sides of the crop."""

HELD = 500
"""Decoded photos that are held in memory, in 8 bits."""

MEASURED = 16
"""Largest photos for which the memory of reading is counted; the formats differ."""

Sizes = Mapping[Path, tuple[int, int]]
"""Height and width of every photo."""


def usable_photos(folder: Path, side: int, skipped: Callable[[str], None]) -> Sizes:
    """Return the photos of a folder, and of the folders in it, that have this shorter side.

    Parameters
    ----------
    folder : Path
    side : int
        Least shorter side in pixels.
    skipped : callable
        Called with a line of text for every photo that cannot be used.

    Returns
    -------
    dict
        Height and width by path. The order is the same on every system, as the crops depend on it.

    Raises
    ------
    InputError
        If there is no such folder, or fewer than `LEAST_PHOTOS` photos can be used.
    """
    if not folder.is_dir():
        raise InputError(f"--photos {folder}: there is no such folder; check the name")
    found: dict[Path, tuple[int, int]] = {}
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
        try:
            height, width = image_size(path)
        except InputError as error:
            skipped(f"skipped   {error}")
            continue
        if min(height, width) < side:
            skipped(f"skipped   {path}: {width}x{height} pixels; {side} on each side are needed")
        else:
            found[path] = height, width
    if len(found) < LEAST_PHOTOS:
        raise InputError(
            f"--photos {folder}: has {len(found)} photos of {side}x{side} pixels or more, and a "
            f"training needs {LEAST_PHOTOS}; add photos, or give a smaller --crop"
        )
    return found


class Crops:
    """Random crops of photos; the same numbers draw the same crops.

    Parameters
    ----------
    sizes : dict
        From `usable_photos`.
    side : int
        Of a crop, in pixels.
    skipped : callable
        Called with a line of text for every photo that turns out to be damaged; another one is
        drawn in its place.

    Attributes
    ----------
    photos : tuple of Path
    """

    def __init__(self, sizes: Sizes, side: int, skipped: Callable[[str], None]) -> None:
        self.photos, self.side = tuple(sizes), side
        self._sizes, self._skipped, self._damaged = sizes, skipped, set[Path]()
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

    def first(self, size: int) -> Array:
        """Read the first photo that is not damaged, scaled down to this longest side.

        Returns
        -------
        float64 array (height, width, 3), RGB, 0..255

        Raises
        ------
        InputError
            If all photos are damaged.
        """
        for path in self.photos:
            try:
                return load_image(path, min(size, max(self._sizes[path])))
            except InputError as error:
                self._skip(path, error)
        raise self._all_damaged()

    def held_bytes(self) -> int:
        """Count the bytes of the photos that are held in memory at most."""
        pixels = sorted(h * w / self._factor(h, w) ** 2 for h, w in self._sizes.values())
        return round(3 * sum(pixels[-HELD:]))

    def reading_bytes(self) -> int:
        """Count the bytes that reading one of the largest photos takes for a moment."""
        largest = nlargest(MEASURED, self._sizes, key=lambda path: prod(self._sizes[path]))
        return max(reading_bytes(path, self._side(path)) for path in largest)

    def _draw_photo(self, rng: np.random.Generator) -> Array:
        while len(self._damaged) < len(self.photos):
            path = self.photos[int(rng.integers(len(self.photos)))]
            if path in self._damaged:
                continue
            try:
                return self._load(path)
            except InputError as error:
                self._skip(path, error)
        raise self._all_damaged()

    def _skip(self, path: Path, error: InputError) -> None:
        self._damaged.add(path)
        self._skipped(f"skipped   {error}")

    def _all_damaged(self) -> InputError:
        return InputError(f"--photos: all {len(self.photos)} photos are damaged; give others")

    def _factor(self, height: int, width: int) -> float:
        """How much a photo is scaled down so that its shorter side is the largest square."""
        return max(1.0, min(height, width) / round(ZOOM * self.side))

    def _decode(self, path: Path) -> Array:
        """The photo, scaled down, in 8 bits."""
        return np.round(load_image(path, self._side(path))).astype(np.uint8)

    def _side(self, path: Path) -> int:
        """Longest side at which a photo is held."""
        height, width = self._sizes[path]
        return round(max(height, width) / self._factor(height, width))
