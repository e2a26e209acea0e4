import numpy as np
import pytest
from PIL import Image

from npstyle.atlas.charts import COLORS, Axis, Series, line_chart, outlines
from npstyle.atlas.diagram import chain_rule
from npstyle.images.write import data_address

pytest.importorskip("matplotlib", reason="the atlas needs the extra `atlas`")
from npstyle.atlas.raster import PIXELS, write_png


def drawn(svg, tmp_path):
    write_png(svg, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as image:
        return np.asarray(image.convert("RGB")).astype(int)


def close_to(pixels, color):
    wanted = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return np.abs(pixels - wanted).max(axis=2) < 12


def test_a_chart_is_wide_enough_for_a_slide_and_has_its_lines_and_texts(tmp_path):
    series = [Series("up", [1, 2], [1, 2], "c1"), Series("down", [1, 2], [2, 1], "c2 dashed")]
    pixels = drawn(line_chart("t", Axis("x"), Axis("y", True), series), tmp_path)
    assert pixels.shape[1] == PIXELS
    assert np.all(pixels[0, 0] == 255)
    for k in (1, 2):
        rows, columns = np.nonzero(close_to(pixels, COLORS[k]))
        assert np.ptp(columns) > 0.7 * PIXELS, k
        # "up" falls in pixels' rows from left to right, "down" rises; the legend is below both
        inside = rows < 0.75 * len(pixels)
        assert np.corrcoef(rows[inside], columns[inside])[0, 1] * (-1) ** k > 0.8
    assert close_to(pixels, "#222222")[:, : PIXELS // 10].any()  # the y axis has a name


def test_the_rectangles_of_a_picture_are_where_they_belong(tmp_path):
    picture = data_address(np.full((30, 60, 3), 200.0), 60)
    pixels = drawn(outlines("t", picture, (60, 30), [("a", (15, 6, 30, 15))]), tmp_path)
    height = PIXELS // 2  # of the picture
    rows, columns = np.nonzero(close_to(pixels, COLORS[0])[:height])
    np.testing.assert_allclose(
        [rows.min() / height, rows.max() / height, columns.min() / PIXELS, columns.max() / PIXELS],
        [0.2, 0.7, 0.25, 0.75],
        atol=0.01,
    )
    assert close_to(pixels, "#c8c8c8")[: height // 10].all(axis=0).mean() > 0.95


def test_the_diagram_can_be_drawn(tmp_path):
    pixels = drawn(chain_rule("{}.html".format), tmp_path)
    assert pixels.shape[1] == PIXELS
    assert close_to(pixels, "#1f5fa8").sum() > 1000  # titles


def test_an_element_that_no_drawing_has_is_an_error(tmp_path):
    svg = '<svg viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg"><ellipse rx="1" ry="1"/></svg>'
    with pytest.raises(ValueError, match="ellipse"):
        drawn(svg, tmp_path)
