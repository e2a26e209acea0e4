"""The chain rule of one evaluation as a diagram, whose boxes lead to the chapters."""

from collections.abc import Callable
from dataclasses import dataclass

WIDTH, BOX_WIDTH, BOX, GAP = 470, 212, 46, 24
"""Width of the drawing and of a box, height of a box, and space below it."""

LEFT, RIGHT = 4, WIDTH - BOX_WIDTH - 4
"""Left edges of the two columns."""

INDENT, RAIL = 15, 5
"""How far the boxes of the losses are indented, and the lines that pass them."""


@dataclass(frozen=True)
class Step:
    """A row of the diagram: a chapter, its function forward, and its derivative backward."""

    module: str
    title: str
    forward: str
    backward: str


STEPS = (
    Step("preprocessing", "preprocessing", "z = (x − m) s", "∂L/∂x = s ∂L/∂z"),
    Step("padding", "padding", "zeros around X", "∂L/∂X = ∂L/∂Y inside"),
    Step("conv", "convolution", "Z = b + Σ W K", "∂L/∂W = g Kᵀ"),
    Step("relu", "ReLU", "F = max(Z, 0)", "∂L/∂Z = ∂L/∂F where F > 0"),
    Step("pooling", "pooling", "Y = mean of a window", "∂L/∂W = ∂L/∂Y / k²"),
    Step("network", "network", "layer after layer", "the chain rule, back"),
)
"""From the pixels to the activations; on the right the way back."""

LOSSES = (
    Step("gram", "Gram matrix", "G = F Fᵀ / M", "∂L/∂F = (D + Dᵀ) F / M"),
    Step("style", "style loss", "E = Σ (G − A)² / 4N²", "D = (G − A) / 2N²"),
    Step("content", "content loss", "L = ½ Σ (F − P)²", "∂L/∂F = F − P"),
    Step("variation", "total variation", "T of the pixels x", "∂T/∂x, to the pixels"),
)
"""The losses, side by side: the first two follow one another."""

OBJECTIVE = Step("objective", "objective", "f = Σ α L + Σ β E + γ T", "each term's ∂f/∂F")

SEARCH = (
    Step("precondition", "preconditioner", "other coordinates w", "∂f/∂w = s D ∂f/∂x"),
    Step("box", "box", "0 ≤ x ≤ 255 by reflection", "∂f/∂z = ± ∂f/∂x"),
)
"""Below: how the search uses the gradient."""


def chain_rule(address: Callable[[str], str]) -> str:
    """Draw the diagram as an svg element; `address` returns the page of a module's last name."""
    row, top = BOX + GAP, 58
    losses = top + len(STEPS) * row
    objective = losses + len(LOSSES) * row
    search = objective + row + 22
    height = search + len(SEARCH) * row
    parts = [
        f'<svg class="diagram" viewBox="0 0 {WIDTH} {height}" role="img" '
        'xmlns="http://www.w3.org/2000/svg"><title>The chain rule, from the pixels to the loss '
        "and back</title>"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        _caption(LEFT, 16, "forward: values"),
        _caption(RIGHT, 16, "backward: derivatives"),
        _caption(LEFT, 44, "pixels x"),
        _caption(RIGHT, 44, "gradient ∂f/∂x at the pixels"),
    ]
    for k, step in enumerate(STEPS):
        parts += [*_boxes(step, top + k * row, address), *_down_and_up(top + k * row + BOX)]
    for k, step in enumerate(LOSSES):
        parts += _boxes(step, losses + k * row, address, INDENT)
    parts += _down_and_up(losses + BOX)
    parts += _rails(losses, objective)
    parts += _boxes(OBJECTIVE, objective, address)
    y, start = objective + BOX / 2, LEFT + BOX_WIDTH
    parts.append(_path(f"M{start} {y}H{RIGHT - 2}"))
    parts.append(_caption(LEFT, search - 12, "the search: L-BFGS moves the pixels against ∂f/∂x"))
    for k, step in enumerate(SEARCH):
        parts += _boxes(step, search + k * row, address)
    return "".join([*parts, "</svg>"])


def _rails(losses: int, objective: int) -> list[str]:
    """Draw the ways past the boxes: from the activations to a loss, and from each to the sum."""
    row = BOX + GAP
    style, content, variation = (losses + k * row + BOX // 2 for k in (1, 2, 3))
    last = losses - GAP  # the lower edge of the network's boxes
    outer, inner = LEFT + RAIL, LEFT + BOX_WIDTH - RAIL
    back_outer, back_inner = RIGHT + BOX_WIDTH - RAIL, RIGHT + RAIL
    edge, back_edge = LEFT + BOX_WIDTH - INDENT, RIGHT + INDENT
    return [
        _path(f"M{outer} {last + 2}V{content}H{LEFT + INDENT - 2}"),
        _path(f"M{edge} {style}H{inner}V{objective - 2}"),
        *(_path(f"M{edge} {y}H{inner}", tip=False) for y in (content, variation)),
        _path(f"M{RIGHT + BOX_WIDTH - INDENT} {content}H{back_outer}V{last + 2}"),
        *(
            _path(f"M{back_inner} {objective - 2}V{y}H{back_edge - 2}")
            for y in (style, content, variation)
        ),
    ]


def _caption(x: float, y: float, text: str) -> str:
    return f'<text class="caption" x="{x}" y="{y}">{text}</text>'


def _down_and_up(y: int) -> list[str]:
    """Draw the arrows between a row and the next: down on the left, up on the right."""
    half = BOX_WIDTH // 2
    return [
        _path(f"M{LEFT + half} {y + 2}V{y + GAP - 2}"),
        _path(f"M{RIGHT + half} {y + GAP - 2}V{y + 2}"),
    ]


def _path(way: str, tip: bool = True) -> str:
    end = ' marker-end="url(#tip)"' if tip else ""
    return f'<path class="arrow" d="{way}"{end}/>'


def _boxes(step: Step, y: int, address: Callable[[str], str], indent: int = 0) -> list[str]:
    """Draw the two boxes of a row."""
    return [
        f'<a href="{address(step.module)}"><rect class="box" x="{x + indent}" y="{y}" '
        f'width="{BOX_WIDTH - 2 * indent}" height="{BOX}" rx="5"/>'
        f'<text class="title" x="{x + indent + 10}" y="{y + 18}">{step.title}</text>'
        f'<text class="formula" x="{x + indent + 10}" y="{y + 37}">{formula}</text></a>'
        for x, formula in ((LEFT, step.forward), (RIGHT, step.backward))
    ]
