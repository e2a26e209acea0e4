import numpy as np
import pytest
from PIL import Image

from npstyle.lab.gradcheck import check_gradient

figures = pytest.importorskip("matplotlib.figure", reason="plots need the extra `plots`")
from npstyle.lab.plots import _plot_entries, plot_reports


def checked(factor):
    x = np.arange(1.0, 7.0).reshape(2, 3)
    return check_gradient(lambda x: np.sum(x**2), lambda x: factor * x, [x], name="squares")


def test_a_wrong_gradient_gets_a_panel_of_its_entries(tmp_path):
    widths = []
    for factor in (2, 3):
        plot_reports(tmp_path / "plot.png", [checked(factor)])
        with Image.open(tmp_path / "plot.png") as image:
            widths.append(image.width)
    assert widths[1] == 1.5 * widths[0]


def test_the_entries_are_drawn_against_the_numeric_ones():
    axes = figures.Figure().subplots()
    _plot_entries(axes, [("squares", checked(3).outcomes[0].compared)])
    numeric, analytic = axes.lines[0].get_data()
    np.testing.assert_allclose(numeric, 2 * np.arange(1.0, 7.0), rtol=1e-9)
    np.testing.assert_allclose(analytic, 3 * np.arange(1.0, 7.0))
    x, y = axes.lines[1].get_data()
    np.testing.assert_array_equal(x, y)  # the diagonal
