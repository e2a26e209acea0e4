import os

import numpy as np
import pytest
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image, read_settings
from npstyle.images.write import save_image
from npstyle.networks.network import load_network
from npstyle.run.figures import (
    RATIOS,
    contact_sheet,
    content_figure,
    grid_figure,
    run_cell,
    save_sheet,
    style_figure,
)
from npstyle.run.settings import STYLE_LAYERS, Settings

SETTINGS = Settings(size=32, iterations=3)


@pytest.fixture(scope="module")
def network():
    return load_network("builtin")


@pytest.fixture
def files(tmp_path):
    save_image(tmp_path / "photo.png", draw_photo(24, 32))
    save_image(tmp_path / "painting.png", draw_painting(20, 32))
    return tmp_path / "photo.png", tmp_path / "painting.png"


def test_the_figures_are_those_of_the_paper(files):
    photo, painting = files
    (content,) = content_figure(photo, SETTINGS)
    assert [list(cell.settings.content_layers) for cell in content] == [
        [f"conv{k}_2"] for k in range(1, 6)
    ]
    assert all(not cell.settings.style_layers for cell in content)
    (style,) = style_figure(painting, SETTINGS)
    assert [tuple(cell.settings.style_layers) for cell in style] == [
        STYLE_LAYERS[:k] for k in range(1, 6)
    ]
    assert all(cell.pictures.photo.shape == (20, 32, 3) for cell in style)
    grid = grid_figure(photo, painting, SETTINGS)
    assert (len(grid), len(grid[0])) == (5, 4)
    for row, number in zip(grid, range(1, 6), strict=True):
        for cell, ratio in zip(row, RATIOS, strict=True):
            assert len(cell.settings.style_layers) == number
            assert cell.settings.content_weight / cell.settings.style_weight == pytest.approx(ratio)
    names = [cell.name for cell in (*content, *style, *(c for row in grid for c in row))]
    assert len(set(names)) == len(names)


def test_the_presets_own_ratio_is_one_of_the_columns(files):
    grid = grid_figure(*files, SETTINGS)
    own = [cell.settings for row in grid for cell in row]
    assert Settings(size=32, iterations=3) in own


def test_a_finished_cell_is_not_run_again_and_a_changed_one_is(files, tmp_path, network):
    photo, _ = files
    cell = content_figure(photo, SETTINGS)[0][1]
    assert run_cell(cell, tmp_path, network)
    before = os.stat(tmp_path / f"{cell.name}.png").st_mtime_ns
    assert not run_cell(cell, tmp_path, network)
    assert os.stat(tmp_path / f"{cell.name}.png").st_mtime_ns == before
    longer = content_figure(photo, Settings(size=32, iterations=4))[0][1]
    assert run_cell(longer, tmp_path, network)
    assert read_settings(tmp_path / f"{cell.name}.png")["iterations"] == 4
    save_image(photo, draw_photo(24, 32, seed=5))
    assert run_cell(longer, tmp_path, network)


def test_an_interrupted_cell_is_not_kept(files, tmp_path, network):
    def interrupt(progress):
        raise KeyboardInterrupt

    cell = content_figure(files[0], SETTINGS)[0][0]
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path, network, callback=interrupt)
    assert not (tmp_path / f"{cell.name}.png").exists()


def test_the_sheet_shows_every_picture_and_its_label(files, tmp_path):
    cells = grid_figure(*files, SETTINGS, (1e-4, 1e-3))[:2]
    for k, cell in enumerate(cell for row in cells for cell in row):
        save_image(tmp_path / f"{cell.name}.png", np.full((24, 32, 3), 50.0 + 40 * k))
    sheet = np.asarray(contact_sheet(cells, tmp_path))
    for k in range(4):
        assert np.count_nonzero(np.all(sheet == 50 + 40 * k, axis=2)) >= 24 * 32
    top, left = sheet[:16].min(), sheet[:, :40].min()
    assert top < 100
    assert left < 100
    for name, magic in (("sheet.png", b"\x89PNG"), ("sheet.pdf", b"%PDF")):
        save_sheet(Image.fromarray(sheet), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert load_image(tmp_path / "sheet.png").shape == sheet.shape


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("inf")])
def test_a_bad_ratio_is_refused(files, ratio):
    with pytest.raises(InputError, match="--ratios"):
        grid_figure(*files, SETTINGS, (ratio,))
