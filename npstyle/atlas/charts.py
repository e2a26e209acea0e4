"""Line charts as SVG, in the colours of the page, or as files of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from npstyle.maths.array import Array

WIDTH, HEIGHT = 520, 330
LEFT, RIGHT, TOP, BOTTOM = 70, 14, 12, 48
LEGEND_ROW, LETTER = 19, 7.3
"""Height of a row of the legend, and mean width of a letter, in units of the drawing."""

COLORS = ("#1f5fa8", "#b4471f", "#3d7d3a", "#7a4ea3", "#9a7414", "#2a7f86", "#a23b66", "#6b6b6b")
DARK_COLORS = (
    "#7fb2ea",
    "#ef9a70",
    "#86c983",
    "#c3a1e6",
    "#dcb85a",
    "#74c7cd",
    "#ea8fb2",
    "#a8a8a8",
)
"""Colours of the lines, by the class c0, c1, ... of a line."""


Rectangle = tuple[int, int, int, int]
"""Left and upper edge, width and height, in pixels."""


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes
    ----------
    name : str
        In the legend; no entry if empty.
    x, y : sequences of float
        Points that a logarithmic axis cannot show are left out.
    style : str
        Classes: c0 to c7 for the colour, and "thin", "dashed", "dotted" or "marked".
    """

    name: str
    x: Sequence[float] | Array
    y: Sequence[float] | Array
    style: str = "c0"


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, in which unit, and whether it is logarithmic."""

    label: str
    log: bool = False


def line_chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Draw a chart.

    Parameters
    ----------
    title : str
        Read to people who do not see the chart.
    x, y : Axis
    series : sequence of Series

    Returns
    -------
    str
        An svg element. `standalone` makes a file of it.
    """
    shown = [_visible(s, x.log, y.log) for s in series]
    xs, ys = _Scale.over([s.x for s in shown], x.log), _Scale.over([s.y for s in shown], y.log)
    named = [s for s in shown if s.name]
    rows = _legend_rows(named)
    height = HEIGHT + LEGEND_ROW * len(rows)
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
    ]
    for value, label in ys.ticks():
        at = bottom - ys.place(value) * (bottom - TOP)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4.5:.1f}" text-anchor="end">{label}</text>')
    for value, label in xs.ticks():
        at = LEFT + xs.place(value) * (WIDTH - RIGHT - LEFT)
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 39}" text-anchor="middle">{x.label}</text>')
    half = (TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(15 {half}) rotate(-90)" text-anchor="middle">{y.label}</text>'
    )
    for s in shown:
        parts += _line(s, xs, ys, bottom)
    parts += _legend(rows, HEIGHT + 12)
    return "".join([*parts, "</svg>"])


def outlines(
    title: str, picture: str, size: tuple[int, int], named: Sequence[tuple[str, Rectangle]]
) -> str:
    """Draw rectangles over a picture.

    Parameters
    ----------
    title : str
        Read to people who do not see the drawing.
    picture : str
        Its address.
    size : (width, height)
        Of the picture in pixels.
    named : sequence of (str, Rectangle)
        Each with its entry in the legend. A part outside the picture is not drawn.

    Returns
    -------
    str
        An svg element.
    """
    scale = WIDTH / size[0]
    height = scale * size[1]
    entries = [Series(name, [], [], f"c{k % 7}") for k, (name, _) in enumerate(named)]
    rows = _legend_rows(entries)
    whole = height + 14 + LEGEND_ROW * len(rows)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {whole:.0f}"'
        f' role="img" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        f'<image href="{picture}" width="{WIDTH}" height="{height:.1f}"/>'
    ]
    for entry, (_, rectangle) in zip(entries, named, strict=True):
        x, y, w, h = (scale * number for number in rectangle)
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + w, WIDTH), min(y + h, height)
        parts.append(
            f'<rect class="line {entry.style}" x="{left:.1f}" y="{top:.1f}" '
            f'width="{right - left:.1f}" height="{bottom - top:.1f}"/>'
        )
    return "".join([*parts, *_legend(rows, height + 24), "</svg>"])


def standalone(svg: str) -> str:
    """Return a chart or diagram as a file, with colours for light and for dark surroundings."""
    light = "".join(f".c{k}{{--line:{c}}}" for k, c in enumerate(COLORS))
    dark = "".join(f".c{k}{{--line:{c}}}" for k, c in enumerate(DARK_COLORS))
    style = (
        "svg{--ink:#222;--faint:#d8d8d2;--paper:#fff;--accent:#1f5fa8;background:var(--paper)}"
        f"{light}@media(prefers-color-scheme:dark){{"
        f"svg{{--ink:#ddd;--faint:#444;--paper:#1b1b1d;--accent:#7fb2ea}}{dark}}}{SHAPES}"
    )
    end = svg.index(">") + 1
    return f"{svg[:end]}<style>{style}</style>{svg[end:]}"


SHAPES = (
    "svg text{font:14px system-ui,sans-serif;fill:var(--ink)}"
    ".chart .grid{stroke:var(--faint);fill:none}"
    ".chart .line{stroke:var(--line);stroke-width:2;fill:none;stroke-linejoin:round}"
    ".chart .line.thin{stroke-width:1}.chart .line.dashed{stroke-dasharray:6 4}"
    ".chart .line.dotted{stroke-dasharray:2 4}.chart .dot{fill:var(--line)}"
    ".diagram .box{fill:none;stroke:var(--faint)}.diagram .title{fill:var(--accent)}"
    ".diagram .arrow{stroke:var(--ink);fill:none}.diagram .tip{fill:var(--ink)}"
    ".diagram .formula{font-style:italic}"
)
"""How the parts of a chart look; the page's style sheet has the same rules."""


@dataclass(frozen=True)
class _Scale:
    """From the numbers of an axis to 0..1."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, lists: Sequence[Sequence[float] | Array], log: bool) -> "_Scale":
        """Return a scale that holds all numbers."""
        values = np.concatenate([np.asarray(v, float) for v in lists] or [np.zeros(0)])
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        if log:
            low, high = np.log10(low or 1.0), np.log10(high or 1.0)
        if high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        pad = 0.02 * (high - low)
        return cls(low - (pad if log or low else 0), high + pad, log)

    def place(self, value: float) -> float:
        """Return the place of a number."""
        return (float(np.log10(value) if self.log else value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round numbers on the axis, with their labels."""
        if self.log:
            powers = np.arange(np.ceil(self.low), np.floor(self.high) + 1)
            if len(powers) < 2:
                return self._short_ticks()
            powers = powers[:: max(1, -(-len(powers) // 7))]
            return [(float(10.0**p), _power(int(p))) for p in powers]
        step = 10.0 ** np.floor(np.log10((self.high - self.low) / 4))
        step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if
                    (self.high - self.low) / s <= 6)  # fmt: skip
        values = np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step
        return [(float(v), f"{v:.6g}") for v in values]

    def _short_ticks(self) -> list[tuple[float, str]]:
        """Return the ticks of a logarithmic axis with at most one power of 10."""
        decades = range(int(np.floor(self.low)), int(np.ceil(self.high)))
        values = [first * 10.0**p for p in decades for first in (1, 2, 5)]
        return [(v, f"{v:.6g}") for v in values if self.low <= np.log10(v) <= self.high]


def _power(p: int) -> str:
    return f'10<tspan dy="-5" font-size="10">{str(p).replace("-", "−")}</tspan>'


def _visible(series: Series, log_x: bool, log_y: bool) -> Series:
    """Leave out the points that the axes cannot show."""
    points = [
        (x, y)
        for x, y in zip(series.x, series.y, strict=True)
        if np.isfinite([x, y]).all() and (x > 0 or not log_x) and (y > 0 or not log_y)
    ]
    return Series(series.name, [x for x, _ in points], [y for _, y in points], series.style)


def _line(series: Series, xs: _Scale, ys: _Scale, bottom: int) -> list[str]:
    """Draw one line, and its points if it is marked."""
    at = [
        (
            LEFT + xs.place(x) * (WIDTH - RIGHT - LEFT),
            bottom - ys.place(y) * (bottom - TOP),
        )
        for x, y in zip(series.x, series.y, strict=True)
    ]
    if not at:
        return []
    path = "M" + "L".join(f"{u:.1f} {v:.1f}" for u, v in at)
    parts = [f'<path class="line {series.style}" d="{path}"/>']
    if "marked" in series.style:
        dots = (f'<circle cx="{u:.1f}" cy="{v:.1f}" r="2.6"/>' for u, v in at)
        parts.append(f'<g class="dot {series.style}">{"".join(dots)}</g>')
    return parts


def _legend_rows(named: Sequence[Series]) -> list[list[tuple[float, Series]]]:
    """Distribute the entries over rows, each with its place."""
    rows: list[list[tuple[float, Series]]] = []
    at = float(WIDTH)
    for series in named:
        width = 40 + LETTER * len(series.name)
        if at + width > WIDTH or not rows:
            rows.append([])
            at = 14.0
        rows[-1].append((at, series))
        at += width
    return rows


def _legend(rows: Sequence[Sequence[tuple[float, Series]]], top: float) -> list[str]:
    parts = []
    for k, row in enumerate(rows):
        y = top + LEGEND_ROW * k
        for at, series in row:
            parts.append(f'<path class="line {series.style}" d="M{at:.0f} {y - 5}h22"/>')
            parts.append(f'<text x="{at + 28:.0f}" y="{y}">{escape(series.name)}</text>')
    return parts


def radial_mean(spectrum: Array, bins: int = 24) -> tuple[list[float], list[float]]:
    """Average the coefficients of a cosine transform over rings of equal frequency.

    Parameters
    ----------
    spectrum : array (height, width, channels)
        Cosine coefficients of an image.
    bins : int
        Number of rings, evenly spaced on a logarithmic axis.

    Returns
    -------
    frequencies : list of float
        Cycles per pixel.
    amplitudes : list of float
        Root mean squares.
    """
    height, width = spectrum.shape[:2]
    f = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))
    edges = np.geomspace(1 / (2 * max(height, width)), 0.71, bins + 1)
    squares = np.mean(spectrum**2, axis=2)
    frequencies, amplitudes = [], []
    for low, high in pairwise(edges):
        ring = (f >= low) & (f < high)
        if ring.any():
            frequencies.append(float(np.sqrt(low * high)))
            amplitudes.append(float(np.sqrt(squares[ring].mean())))
    return frequencies, amplitudes
