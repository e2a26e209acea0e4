"""The paper's figures: the two rows of Figure 1 and the grid of Figure 3, each on one sheet.

Every cell of a figure is a run of its own. Its picture records the pictures, network and settings
that it was made from, so an interrupted figure resumes where it stopped: cells that exist and were
made from the same input are not run again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npstyle.errors import InputError
from npstyle.files import written_whole
from npstyle.images.read import image_size, load_image, read_settings
from npstyle.images.resize import fit_size
from npstyle.images.write import save_image
from npstyle.networks.network import Network
from npstyle.run.checkpoint import identity
from npstyle.run.experiments import CONTENT_ROW, STYLE_ROW, reconstruction, texture
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer_pictures
from npstyle.search.optimize import Progress

RATIOS = (1e-5, 1e-4, 1e-3, 1e-2)
"""alpha / beta of the columns of Figure 3; 1e-3 is the ratio of the preset `gatys`."""

LETTERS = "ABCDE"
"""Names of the nested sets of style layers in Figure 1."""

SHEETS = ("sheet.png", "sheet.pdf")
"""The files of the whole figure."""

MARGIN = 8
"""Space between the pictures of a sheet, in pixels."""


@dataclass(frozen=True)
class Cell:
    """One picture of a figure.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    row, column : str
        Labels; may be empty.
    pictures : Pictures
    settings : Settings
    """

    name: str
    row: str
    column: str
    pictures: Pictures
    settings: Settings


def content_figure(photo: Path, settings: Settings) -> list[list[Cell]]:
    """Return the cells of Figure 1, content: a photo reconstructed from deeper layers each time."""
    return [
        [
            Cell(f"content-{layer}", "", layer, *reconstruction(photo, layer, settings))
            for layer in CONTENT_ROW
        ]
    ]


def style_figure(painting: Path, settings: Settings) -> list[list[Cell]]:
    """Return the cells of Figure 1, style: textures from more and more layers of a painting."""
    size = fit_size(*image_size(painting), settings.size)
    return [
        [
            Cell(
                f"style-{letter}",
                "",
                _label(letter, layers),
                *texture(painting, dict.fromkeys(layers, 1.0), size, settings),
            )
            for letter, layers in zip(LETTERS, STYLE_ROW, strict=True)
        ]
    ]


def grid_figure(
    photo: Path, painting: Path, settings: Settings, ratios: Sequence[float] = RATIOS
) -> list[list[Cell]]:
    """Return the cells of Figure 3: rows of style layers A to E, columns of alpha / beta.

    Raises
    ------
    InputError
        If a ratio is not a number above 0.
    """
    for ratio in ratios:
        if not 0 < ratio < float("inf"):
            raise InputError(f"--ratios {ratio}: give numbers above 0, such as 1e-4 1e-3")
    return [
        [
            Cell(
                f"grid-{letter}-{ratio:g}",
                _label(letter, layers),
                f"alpha/beta {ratio:g}",
                Pictures(photo, (painting,)),
                replace(
                    settings,
                    style_layers=dict.fromkeys(layers, 1.0),
                    style_weight=settings.content_weight / ratio,
                ),
            )
            for ratio in ratios
        ]
        for letter, layers in zip(LETTERS, STYLE_ROW, strict=True)
    ]


def _label(letter: str, layers: Sequence[str]) -> str:
    return f"{letter}: {'... + ' if len(layers) > 1 else ''}{layers[-1]}"


def run_cell(
    cell: Cell,
    folder: Path,
    network: Network,
    machine: Machine | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> bool:
    """Make a cell's picture in a folder, unless it exists there.

    Returns
    -------
    bool
        Whether the cell was run.

    Raises
    ------
    KeyboardInterrupt
        If the run was interrupted. No picture is written then.
    InputError
        For bad input, or if the loss became infinite or NaN.
    """
    path = folder / f"{cell.name}.png"
    own = json.dumps(identity(cell.settings, network, cell.pictures), sort_keys=True)
    mark = hashlib.sha256(own.encode()).hexdigest()
    if path.is_file() and _mark(path) == mark:
        return False
    done = transfer_pictures(
        cell.pictures, network, cell.settings, machine or Machine(), callback=callback
    )
    if done.result.stopped == "interrupted":
        raise KeyboardInterrupt
    if done.result.stopped == "not finite":
        raise InputError(f"{path}: the loss became infinite or NaN; give a smaller weight")
    save_image(path, done.result.image, {**done.record, "cell": mark})
    return True


def check_figure(cells: Sequence[Cell], folder: Path) -> None:
    """Raise InputError if the folder has a file of a figure's name that no figure wrote.

    A figure's own pictures may be replaced. A sheet has no mark; it is a figure's if a picture in
    the same folder has one.
    """
    paths = [folder / f"{cell.name}.png" for cell in cells]
    foreign = [path for path in paths if path.exists() and _mark(path) is None]
    sheets = [folder / name for name in SHEETS if (folder / name).exists()]
    if sheets and not any(_mark(path) for path in folder.glob("*.png")):
        foreign += sheets
    if foreign:
        raise InputError(
            f"{foreign[0]}: is not a picture of a figure, and would be replaced; choose another "
            "folder by -o"
        )


def contact_sheet(cells: Sequence[Sequence[Cell]], folder: Path) -> Image.Image:
    """Put all pictures of a figure, with their labels, on one white sheet."""
    pixels = [[load_image(folder / f"{cell.name}.png") for cell in row] for row in cells]
    height, width = pixels[0][0].shape[:2]
    font = ImageFont.load_default(max(10, width // 16))
    line = 2 * font.getbbox("Ag")[3]
    left = max((int(font.getlength(row[0].row)) for row in cells), default=0)
    left += 2 * MARGIN if left else MARGIN
    size = (left + len(cells[0]) * (width + MARGIN), line + len(cells) * (height + MARGIN))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(cells):
        top = line + y * (height + MARGIN)
        draw.text((MARGIN, top + height // 2), row[0].row, "black", font, anchor="lm")
        for x, cell in enumerate(row):
            at = left + x * (width + MARGIN)
            if y == 0:
                draw.text((at + width // 2, line // 2), cell.column, "black", font, anchor="mm")
            sheet.paste(Image.fromarray(np.round(pixels[y][x]).astype(np.uint8)), (at, top))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as PNG or PDF, completely or not at all."""
    with written_whole(path) as file:
        sheet.save(file, format=path.suffix[1:].upper(), resolution=150)


def _mark(path: Path) -> Any:
    """Return the hash that a cell's picture records of its input, or None."""
    try:
        return read_settings(path).get("cell")
    except InputError:
        return None
