"""Arrays as pictures: heat maps in fixed colours, enlarged so that a pixel stays a square."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from npstyle.atlas.charts import standalone
from npstyle.atlas.raster import write_png
from npstyle.maths.array import Array

SEQUENTIAL = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
    (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
)  # fmt: skip
"""From low to high, as in Matplotlib's viridis."""

DIVERGING = (
    (5, 48, 97), (33, 102, 172), (67, 147, 195), (146, 197, 222), (247, 247, 247),
    (244, 165, 130), (214, 96, 77), (178, 24, 43), (103, 0, 31),
)  # fmt: skip
"""From negative (blue) over 0 (white) to positive (red)."""

LEAST_SIDE = 192
"""Longest side in pixels that a heat map has at least."""


@dataclass(frozen=True)
class Figure:
    """A picture in the atlas.

    Attributes
    ----------
    file : str
        Its address from the pages.
    width, height : int
        In pixels.
    caption : str
        What it shows and in which units, as HTML.
    alt : str
        The same for people who do not see it, as plain text.
    """

    file: str
    width: int
    height: int
    caption: str
    alt: str


@dataclass(frozen=True)
class Album:
    """The folder of an atlas that its figures are written to."""

    folder: Path

    def photo(self, name: str, pixels: Array, caption: str, alt: str) -> Figure:
        """Write a picture (height, width, 3), 0..255."""
        rounded = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        return self._write(name, Image.fromarray(rounded), caption, alt)

    def heat(self, name: str, values: Array, limit: float, caption: str, alt: str) -> Figure:
        """Write a heat map of values (height, width) from 0 to `limit`."""
        share = np.clip(values / (limit or 1.0), 0, 1)
        return self._write(name, _colored(share, SEQUENTIAL), caption, alt)

    def signed(self, name: str, values: Array, limit: float, caption: str, alt: str) -> Figure:
        """Write a heat map of values (height, width) from -`limit` to `limit`; 0 is white."""
        share = np.clip(values / (limit or 1.0) / 2 + 0.5, 0, 1)
        return self._write(name, _colored(share, DIVERGING), caption, alt)

    def drawing(self, name: str, svg: str) -> None:
        """Write a drawing as SVG and as PNG."""
        (self.folder / f"{name}.svg").write_text(standalone(svg), encoding="utf-8")
        write_png(svg, self.folder / f"{name}.png")

    def _write(self, name: str, image: Image.Image, caption: str, alt: str) -> Figure:
        image.save(self.folder / f"{name}.png", optimize=True)
        return Figure(f"{self.folder.name}/{name}.png", *image.size, caption, alt)


def _colored(share: Array, anchors: tuple[tuple[int, int, int], ...]) -> Image.Image:
    """Return numbers from 0 to 1 as an enlarged picture with a palette."""
    index = np.rint(share * 255).astype(np.uint8)
    factor = max(1, -(-LEAST_SIDE // max(index.shape)))
    index = index.repeat(factor, axis=0).repeat(factor, axis=1)
    at = np.linspace(0, len(anchors) - 1, 256)
    places = np.arange(len(anchors))
    palette = np.stack([np.interp(at, places, [a[c] for a in anchors]) for c in range(3)], axis=1)
    image = Image.fromarray(index, "P")
    image.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    return image
