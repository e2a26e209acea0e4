"""Results as HTML, to be shown in a notebook, and as a line for a prompt."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from npstyle.images.write import data_address

if TYPE_CHECKING:
    from npstyle.run.transfer import Transfer

SIDE = 512
"""Longest side of a picture in a notebook, in pixels."""


def table(rows: Iterable[Iterable[str]], header: Iterable[str] = ()) -> str:
    """Return a table of texts."""
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    lines = [f"<tr>{head}</tr>"] if head else []
    for row in rows:
        lines.append(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def transfer_text(done: "Transfer") -> str:
    """Return a run in one line."""
    result, (height, width) = done.result, done.result.image.shape[:2]
    return (
        f"Transfer: {width}x{height} pixels, {result.iterations} iterations, "
        f"{result.evaluations} evaluations, loss {result.loss:.4g}, ended by: {result.stopped}"
    )


def transfer_html(done: "Transfer") -> str:
    """Return the picture of a run, its loss terms and its settings."""
    result = done.result
    picture = f'<img alt="result" src="{data_address(result.image, SIDE)}">'
    counts = f"{result.iterations} iterations, {result.evaluations} evaluations"
    terms = {"loss": result.loss, **result.parts}
    settings = (
        (name, _text(value)) for name, value in done.record.items() if name not in ("loss", "parts")
    )
    return (
        f"<div>{picture}<p>{counts}, ended by: {result.stopped}</p>"
        f"{table((name, f'{value:.4g}') for name, value in terms.items())}"
        f"<details><summary>settings</summary>{table(settings)}</details></div>"
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
