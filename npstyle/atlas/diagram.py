"""The chain rule of one evaluation as a diagram, whose boxes lead to the chapters."""

from collections.abc import Callable
from dataclasses import dataclass

WIDTH, BOX_WIDTH, BOX, GAP = 470, 212, 46, 24
"""Width of the drawing and of a box, height of a box, and space below it."""

LEFT, RIGHT = 4, WIDTH - BOX_WIDTH - 4


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
    Step("gram", "Gram matrix", "G = F Fᵀ", "∂L/∂F = (D + Dᵀ) F"),
    Step("style", "style loss", "E = Σ (G − A)² / 4N²", "D = (G − A) / 2N²"),
    Step("content", "content loss", "L = ½ Σ (F − P)²", "∂L/∂F = F − P"),
    Step("variation", "total variation", "T = Σ (differences)²", "∂T/∂x, at the pixels"),
    Step("objective", "objective", "f = Σ α L + Σ β E + γ T", "∂f/∂F of each term"),
)
"""From the pixels to the loss; on the right the way back."""

SEARCH = (
    Step("precondition", "preconditioner", "other coordinates w", "∂f/∂w = s D ∂f/∂x"),
    Step("box", "box", "0 ≤ x ≤ 255 by reflection", "∂f/∂z = ± ∂f/∂x"),
)
"""Below: how the search uses the gradient."""


def chain_rule(address: Callable[[str], str]) -> str:
    """Draw the diagram as an svg element; `address` returns the page of a module's last name."""
    top = 58
    loss = top + len(STEPS) * (BOX + GAP)
    height = loss + len(SEARCH) * (BOX + GAP) + 34
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
        y = top + k * (BOX + GAP)
        parts += [
            _box(LEFT, y, step.title, step.forward, address(step.module)),
            _box(RIGHT, y, step.title, step.backward, address(step.module)),
        ]
        if k + 1 < len(STEPS):
            parts += [_arrow(LEFT, y + BOX, y + BOX + GAP), _arrow(RIGHT, y + BOX + GAP, y + BOX)]
    last = loss - BOX / 2 - GAP
    parts.append(
        f'<path class="arrow" d="M{LEFT + BOX_WIDTH} {last}H{RIGHT - 2}" marker-end="url(#tip)"/>'
    )
    parts.append(_caption(LEFT, loss + 10, "the search: L-BFGS moves the pixels against ∂f/∂x"))
    for k, step in enumerate(SEARCH):
        y = loss + 22 + k * (BOX + GAP)
        parts += [
            _box(LEFT, y, step.title, step.forward, address(step.module)),
            _box(RIGHT, y, step.title, step.backward, address(step.module)),
        ]
    return "".join([*parts, "</svg>"])


def _caption(x: float, y: float, text: str) -> str:
    return f'<text class="caption" x="{x}" y="{y}">{text}</text>'


def _arrow(x: float, start: float, end: float) -> str:
    middle, sign = x + BOX_WIDTH / 2, 1 if end > start else -1
    return (
        f'<path class="arrow" d="M{middle} {start + 2 * sign}V{end - 2 * sign}" '
        'marker-end="url(#tip)"/>'
    )


def _box(x: float, y: float, title: str, formula: str, address: str) -> str:
    return (
        f'<a href="{address}"><rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" '
        f'height="{BOX}" rx="5"/><text class="title" x="{x + 10}" y="{y + 18}">{title}</text>'
        f'<text class="formula" x="{x + 10}" y="{y + 37}">{formula}</text></a>'
    )
