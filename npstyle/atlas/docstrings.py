"""A docstring's headings, paragraphs and formulas, as HTML.

The docstrings of the textbook are written for a terminal: a heading is underlined, formulas are
indented, names of the code stand between backticks, and the symbols of a formula stand in the text
as they do in the formula. Blocks are separated by empty lines.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Literal

from npstyle.atlas.formulas import GREEK, to_mathml

Kind = Literal["heading", "text", "formulas", "steps", "statement"]


@dataclass(frozen=True)
class Block:
    """A part of a docstring.

    Attributes
    ----------
    kind : str
        "heading", "text", "formulas", "steps" (a numbered list) or "statement" (an indented
        sentence).
    lines : tuple of str
        Without the indentation that all of them share.
    """

    kind: Kind
    lines: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """Yield the parts of a docstring that `inspect.getdoc` returned."""
    lines = text.splitlines()
    marked = [k for k, line in enumerate(lines) if line and not line.strip("-")]
    headings = {k - 1 for k in marked}
    kept = [(k, line) for k, line in enumerate(lines) if k not in marked]

    def kind(item: tuple[int, str]) -> str:
        k, line = item
        if not line.strip():
            return "empty"
        return "heading" if k in headings else "indented" if line.startswith("    ") else "text"

    for found, items in groupby(kept, kind):
        group = [line for _, line in items]
        if found == "indented":
            yield _indented(group)
        elif found == "heading":
            yield Block("heading", tuple(group))
        elif found == "text" and group[0].startswith("1. "):
            yield Block("steps", _unwrapped(group))
        elif found == "text":
            yield Block("text", tuple(group))


def _unwrapped(lines: list[str]) -> tuple[str, ...]:
    """Join the lines of each numbered step."""
    return tuple(" ".join(step.split()) for step in re.split(r"\n(?=\d+\. )", "\n".join(lines)))


def _indented(lines: list[str]) -> Block:
    """Tell formulas, numbered steps and sentences apart."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    shifted = tuple(line[margin:] for line in lines)
    if all(re.match(r"\d+\. ", line) for line in shifted):
        return Block("steps", shifted)
    words = re.findall(r"[A-Za-z]{3,}", " ".join(shifted))
    if "=" not in "".join(shifted) and len(words) > 8:
        return Block("statement", shifted)
    return Block("formulas", shifted)


# A run is what `npstyle.atlas.formulas` can translate: operands, with signs or spaces in between.
_SCRIPT = r"(?:[_^](?:\([^()]*\)|\{[^}]*\}|-?[A-Za-z0-9]+))"
_NAME = rf"(?:d?(?:{'|'.join(sorted(GREEK))}|[A-Za-z])(?![A-Za-z]))"
_CALL = r"(?:\([^()]*\)|\[[^\]]*\])"
_SYMBOL = rf"{_NAME}{_SCRIPT}*(?:'(?!s))?{_CALL}?"
_GROUP = rf"\([^()]*\){_SCRIPT}|\({_SYMBOL}(?: [-+] {_SYMBOL})+\)"
_ROOT = r"sqrt\([^()]*\)"
_OPERAND = rf"-?(?:sum{_SCRIPT}|{_ROOT}|{_SYMBOL}|{_GROUP}|\|[^|]+\||\d+(?:\.\d+)?)"
_SIGN = r"(?: (?:[=+<>/*-]|>=|<=|x) |[/=]| )"
_RUN = re.compile(rf"(?<![\w`'\".)-]){_OPERAND}(?:{_SIGN}{_OPERAND})*(?![\w'\"-]|\.\d|\()")
# A run without any of these is a number or empty, and stays text.
_STRONG = re.compile(r"[_^=<>|\[]|d\w+/d\w+|(?<![\w.])[A-Za-z]+")
# "a" and "A" are articles where a word follows that is not one of these.
_FOLLOWED = r" (?!(?:and|or|is|are|has|in|at|as|of|on|by|to|for|with|from|be)\b)[A-Za-z][a-z]"
LONGEST_WORD = 6
"""Letters after a symbol that tell an article from a symbol, with a space."""

_ARTICLE = re.compile(rf"(?<!\w)[aA](?={_FOLLOWED})")
# "positions x channels" and "height x width" are products, "column x computes" is none.
_WORDS_TIMES = re.compile(r"(?:(?<=[a-z]{4}s )|(?<=height ))x(?= [a-z]{4})")
_MARK = re.compile(r"[.,;:)]+")
_CODE = re.compile(r"`([^`]+)`")


def inline(text: str, link: Callable[[str], str | None] = lambda name: None) -> str:
    """Return a sentence as HTML: symbols as MathML, names of the code as code.

    Parameters
    ----------
    text : str
    link : callable
        Returns the address of a name of the code, or None.
    """
    made = []
    for k, piece in enumerate(_CODE.split(text)):
        if k % 2:
            address, code = link(piece), f"<code>{escape(piece)}</code>"
            made.append(f'<a href="{address}">{code}</a>' if address else code)
        else:
            made.append(_with_symbols(piece))
    return "".join(made)


def _with_symbols(text: str) -> str:
    """Return text without code as HTML, its symbols as MathML."""
    made, end = [], 0
    text = _WORDS_TIMES.sub("×", text)
    for found in _RUN.finditer(text):
        run = found.group()
        article = _ARTICLE.search(text, found.start(), found.end() + LONGEST_WORD)
        if article and article.end() == found.end():
            run = run[: article.start() - found.start()].rstrip()
        if not _STRONG.search(run) or run == "do":
            continue
        made.append(escape(text[end : found.start()], quote=False))
        end = found.start() + len(run)
        mark = _MARK.match(text, end)
        made.append(to_mathml(run, display=False))
        if mark:  # a line must not begin with it
            made[-1] = f'<span class="glue">{made[-1]}{mark.group()}</span>'
            end = mark.end()
    return "".join([*made, escape(text[end:], quote=False)])
