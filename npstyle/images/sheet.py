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
    height, width = pictures[0].shape[:2]
    font = ImageFont.load_default(max(10, width // 12))
    line = int(1.5 * font.getbbox("Ag")[3])
    rows = -(-len(pictures) // columns)
    cell = width + MARGIN, height + line + MARGIN
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, rows * cell[1] + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = MARGIN + k % columns * cell[0], MARGIN + k // columns * cell[1]
        draw.text((left, top + line // 2), label, "black", font, anchor="lm")
        image = Image.fromarray(np.round(np.clip(pixels, 0, 255)).astype(np.uint8))
        sheet.paste(image, (left, top + line))
    return np.asarray(sheet, np.float64)
