"""Several pictures on one sheet, each with a label."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npstyle.images.pixels import Pixels
from npstyle.maths.array import Array

MARGIN = 8
"""Space between two pictures, in pixels."""


def labelled_sheet(pictures: Sequence[Array], labels: Sequence[str], columns: int) -> Pixels:
    """Put pictures in rows on a white sheet, each with its label above it.

    Parameters
    ----------
    pictures : sequence of arrays (height, width, 3), RGB, 0..255, all of one size
    labels : sequence of str
    columns : int
        Pictures in a row.

    Returns
    -------
    float64 array (height, width, 3), RGB, 0..255
    """
    size = pictures[0].shape[:2]
    sheet_height, sheet_width = sheet_size(size, len(pictures), columns)
    font, line = _label(size[1])
    sheet = Image.new("RGB", (sheet_width, sheet_height), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
        left = MARGIN + k % columns * (size[1] + MARGIN)
        top = MARGIN + k // columns * (size[0] + line + MARGIN)
        draw.text((left, top + line // 2), label, "black", font, anchor="lm")
        image = Image.fromarray(np.round(np.clip(pixels, 0, 255)).astype(np.uint8))
        sheet.paste(image, (left, top + line))
    return np.asarray(sheet, np.float64)


def sheet_size(size: tuple[int, int], count: int, columns: int) -> tuple[int, int]:
    """Return height and width of a sheet of so many pictures of this size (height, width)."""
    _, line = _label(size[1])
    rows = -(-count // columns)
    return rows * (size[0] + line + MARGIN) + MARGIN, columns * (size[1] + MARGIN) + MARGIN


def _label(width: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """Return the font of the labels, and the height of their line, for pictures of this width."""
    font = ImageFont.load_default(max(10, width // 12))
    return font, int(1.5 * font.getbbox("Ag")[3])
