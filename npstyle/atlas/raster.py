"""The drawings of the atlas as PNG, for slides and documents that take no SVG.

Matplotlib draws the elements that `charts`, `diagram` and `evaluation` write, and no others: paths
of straight lines, rectangles, circles, texts and images. Its own font has every sign of a formula.
"""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from PIL import Image

from npstyle.atlas.charts import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIXELS = 1600
"""Width of a drawing in pixels."""

INK, SOFT, FAINT, TINT, ACCENT = "#222222", "#5d6066", "#d8d8d2", "#f3f3ee", "#1f5fa8"
"""Light colours: texts, captions and arrows, grids and edges of boxes, boxes, titles."""

RAISED = str.maketrans("−-0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Digits of an exponent, as raised letters."""

_PART = re.compile(r"([MLHVh])([^MLHVhz]*)")
_MOVE = re.compile(r"translate\((\S+) (\S+)\)")


def write_png(svg: str, path: Path) -> None:
    """Draw an svg element of the atlas on white, `PIXELS` wide, in light colours."""
    from matplotlib.figure import Figure

    root = ElementTree.fromstring(svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * PIXELS / width)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")  # one unit of the drawing is one point
    for element, style in _elements(root, ()):
        _draw(axes, element, style)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="rgba")
    pixels = Image.frombytes("RGBA", figure.canvas.get_width_height(), drawn.getvalue())
    pixels.convert("RGB").quantize(256).save(path)


def _elements(
    parent: ElementTree.Element, style: tuple[str, ...]
) -> Iterator[tuple[ElementTree.Element, tuple[str, ...]]]:
    """Yield what is to be drawn, with its classes and those around it."""
    for element in parent:
        own = (*style, *element.get("class", "").split())
        kind = element.tag.rpartition("}")[2]
        if kind in ("g", "a"):
            yield from _elements(element, own)
        elif kind not in ("title", "defs", "style"):
            yield element, own


def _draw(axes: "Axes", element: ElementTree.Element, style: tuple[str, ...]) -> None:
    """Draw one element over those before it."""
    from matplotlib.patches import Circle, Rectangle

    given = element.attrib
    match element.tag.rpartition("}")[2]:
        case "path":
            _draw_path(axes, given["d"], style, "marker-end" in given)
        case "rect":
            is_box = "box" in style
            face, edge = ("#f3f3ee", FAINT) if is_box else ("none", _color(style))
            place, size = _numbers(given, "x", "y"), _numbers(given, "width", "height")
            axes.add_patch(
                Rectangle(place, *size, fc=face, ec=edge, lw=1 if is_box else 2, zorder=2)
            )
        case "circle":
            place, radius = _numbers(given, "cx", "cy"), float(given["r"])
            axes.add_patch(Circle(place, radius, fc=_color(style), lw=0, zorder=2))
        case "text":
            _draw_text(axes, element, style)
        case "image":
            picture = Image.open(io.BytesIO(base64.b64decode(given["href"].partition(",")[2])))
            width, height = _numbers(given, "width", "height")
            axes.imshow(picture, extent=(0, width, height, 0), aspect="auto", zorder=1)
        case kind:
            raise ValueError(f"a drawing of the atlas has an element {kind}")


def _numbers(given: dict[str, str], one: str, other: str) -> tuple[float, float]:
    return float(given.get(one, 0)), float(given.get(other, 0))


def _color(style: tuple[str, ...]) -> str:
    return next((COLORS[int(name[1:])] for name in style if re.fullmatch(r"c\d", name)), INK)


def _draw_path(axes: "Axes", way: str, style: tuple[str, ...], has_tip: bool) -> None:
    """Draw a path of straight lines, with an arrow's tip at its end if it has one."""
    points = list(_points(way))
    dashes = (0, (6, 4)) if "dashed" in style else (0, (2, 4)) if "dotted" in style else "-"
    is_line = "line" in style
    color = _color(style) if is_line else FAINT if "grid" in style else SOFT
    width = 2 if is_line and "thin" not in style else 1
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=color, lw=width, ls=dashes, zorder=2, solid_joinstyle="round")
    if has_tip:
        tip = {"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", points[-1], points[-2], arrowprops=tip, zorder=3)


def _points(way: str) -> Iterator[tuple[float, float]]:
    """Yield the corners of a path."""
    x = y = 0.0
    for command, text in _PART.findall(way):
        numbers = [float(number) for number in text.split()]
        if command in "ML":
            x, y = numbers
        elif command == "V":
            y = numbers[0]
        else:
            x = numbers[0] + (x if command == "h" else 0)
        yield x, y


def _draw_text(axes: "Axes", element: ElementTree.Element, style: tuple[str, ...]) -> None:
    """Draw a text; its exponent becomes raised digits."""
    exponent = "".join(raised.text or "" for raised in element)
    x, y = _numbers(element.attrib, "x", "y")
    moved = _MOVE.match(element.get("transform", ""))
    if moved:
        x, y = float(moved[1]), float(moved[2])
    axes.text(
        x,
        y,
        (element.text or "") + exponent.translate(RAISED),
        fontsize=13,
        color=ACCENT if "title" in style else SOFT if "caption" in style else INK,
        fontstyle="italic" if "formula" in style else "normal",
        fontweight="bold" if "title" in style else "normal",
        ha={"middle": "center", "end": "right"}.get(element.get("text-anchor", ""), "left"),
        va="baseline",
        rotation=90 if moved else 0,
        rotation_mode="anchor",
        parse_math=False,
        zorder=4,
    )
