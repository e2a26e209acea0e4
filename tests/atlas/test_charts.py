from xml.etree import ElementTree

import numpy as np
import pytest

from npstyle.atlas.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Series,
    line_chart,
    radial_mean,
    standalone,
)
from npstyle.atlas.diagram import LOSSES, SEARCH, STEPS, chain_rule
from npstyle.maths import dct_matrix

SVG = "{http://www.w3.org/2000/svg}"


def points(svg, k=0):
    paths = [p for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if "line" in p.get("class")]
    return np.array([[float(n) for n in p.split()] for p in paths[k].get("d")[1:].split("L")])


def test_a_power_law_is_a_straight_line_on_logarithmic_axes():
    x = np.geomspace(1e-6, 1, 9)
    chart = line_chart("t", Axis("x", True), Axis("y", True), [Series("", x, 3 * x**2)])
    at = points(chart)
    slopes = np.diff(at[:, 1]) / np.diff(at[:, 0])
    np.testing.assert_allclose(slopes, slopes.mean(), rtol=0.02)
    assert slopes.mean() < 0  # up is less in SVG


def test_all_points_lie_inside_the_drawing():
    chart = line_chart("t", Axis("x"), Axis("y"), [Series("a", [-3, 0, 900], [5, -2, 7.5])])
    at = points(chart)
    assert np.all((at[:, 0] >= LEFT) & (at[:, 0] <= WIDTH - RIGHT))
    assert np.all((at[:, 1] >= 0) & (at[:, 1] <= HEIGHT))


def test_points_that_a_logarithm_cannot_show_are_left_out():
    series = Series("a", [1, 2, 3, 4], [1.0, 0.0, np.nan, 10.0])
    assert len(points(line_chart("t", Axis("x"), Axis("y", True), [series]))) == 2


def test_a_logarithmic_axis_within_one_decade_has_several_ticks():
    chart = line_chart("t", Axis("x"), Axis("y", True), [Series("a", [1, 2], [0.3, 2.5])])
    texts = ["".join(t.itertext()) for t in ElementTree.fromstring(chart).iter(f"{SVG}text")]
    assert {"0.5", "1", "2"} <= set(texts)


@pytest.mark.parametrize("values", [[], [2.0], [0.0, 0.0]])
def test_an_empty_or_constant_line_can_be_drawn(values):
    chart = line_chart("t", Axis("x"), Axis("y", True), [Series("a", values, values)])
    ElementTree.fromstring(chart)


def test_a_file_is_xml_and_has_its_own_colours():
    svg = standalone(
        line_chart("a < b", Axis("x"), Axis("y"), [Series("one & two", [0, 1], [2, 3])])
    )
    root = ElementTree.fromstring(svg)
    assert "prefers-color-scheme" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}title").text == "a < b"


def test_the_radial_mean_finds_the_frequency_of_a_wave():
    n, k = 64, 16
    wave = np.zeros((n, n, 1))
    wave[0, k] = 1.0  # k/(2n) cycles per pixel
    image = (dct_matrix(n).T @ wave[..., 0] @ dct_matrix(n))[..., None]
    spectrum = (dct_matrix(n) @ image[..., 0] @ dct_matrix(n).T)[..., None]
    frequencies, amplitudes = radial_mean(spectrum)
    assert frequencies[int(np.argmax(amplitudes))] == pytest.approx(k / (2 * n), rel=0.1)


def test_the_diagram_divides_the_gram_matrix_by_the_positions_as_the_style_loss_expects():
    """Its G and D are those of `mean_gram` and its derivative; the paper's G has no 1/M."""
    gram, style = LOSSES[:2]
    assert (gram.forward, gram.backward) == ("G = F Fᵀ / M", "∂L/∂F = (D + Dᵀ) F / M")
    assert (style.forward, style.backward) == ("E = Σ (G − A)² / 4N²", "D = (G − A) / 2N²")


def test_every_box_of_the_diagram_is_a_link():
    svg = ElementTree.fromstring(chain_rule("{}.html".format))
    boxes = [r for r in svg.iter(f"{SVG}rect")]
    links = [a.get("href") for a in svg.iter(f"{SVG}a")]
    assert len(boxes) == len(links) == 2 * (len(STEPS) + len(LOSSES) + 1 + len(SEARCH))
    assert {step.module for step in STEPS} <= {link.removesuffix(".html") for link in links}
