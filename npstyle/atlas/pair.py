"""The photo and the painting that an atlas looks at."""

from dataclasses import dataclass
from pathlib import Path

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image
from npstyle.maths.array import Array

SIZE = 256
"""Longest side of the pictures in pixels."""


@dataclass(frozen=True)
class Pair:
    """A photo and a painting, arrays (height, width, 3), RGB, 0..255, and their names."""

    photo: Array
    painting: Array
    names: tuple[str, str]


def demo_pair(size: int = SIZE) -> Pair:
    """Draw the pictures of `npstyle demo`, `size` pixels wide."""
    height = size * 3 // 4
    names = ("a landscape drawn by formula", "a painting drawn by formula")
    return Pair(draw_photo(height, size), draw_painting(height, size), names)


def read_pair(photo: Path, painting: Path, size: int = SIZE) -> Pair:
    """Read two pictures and scale them to `size` pixels on their longest side.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    return Pair(load_image(photo, size), load_image(painting, size), (photo.name, painting.name))
