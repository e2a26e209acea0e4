"""The derivation and the code of a module, line by line, linked to each other."""

import ast
import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from html import escape
from types import ModuleType

from npstyle.atlas.docstrings import blocks, inline
from npstyle.atlas.formulas import to_mathml
from npstyle.atlas.links import LINKS

Linker = Callable[[str], str | None]
"""From a name of the code to the address of what explains it, or None."""

Definition = ast.FunctionDef | ast.ClassDef


@dataclass
class Formula:
    """A line of a formula block.

    Attributes
    ----------
    number : int
        On its page, from 1.
    text : str
        As in the docstring.
    mathml : str
    continues : bool
        True if the line continues the one before.
    lines : list of int
        Lines of the source that compute it.
    """

    number: int
    text: str
    mathml: str
    continues: bool
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A block of a derivation: its kind, and its text or its formulas."""

    kind: str
    html: str = ""
    formulas: tuple[Formula, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of code: its number in the file, its HTML, and the numbers of its formulas."""

    number: int
    html: str
    formulas: tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """A function or class: its name, the first sentence and the rest of its docstring, its code."""

    name: str
    summary: str
    details: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Module:
    """The derivation of a module and its code.

    Attributes
    ----------
    name : str
    path : str
        Of its file, from the root of the package.
    title : str
        The first sentence of the docstring, as HTML.
    parts : tuple of Part
        The rest of the docstring.
    functions : tuple of Function
    """

    name: str
    path: str
    title: str
    parts: tuple[Part, ...]
    functions: tuple[Function, ...]

    @property
    def formulas(self) -> list[Formula]:
        """All formulas of the derivation."""
        return [formula for part in self.parts for formula in part.formulas]


class StaleLinkError(LookupError):
    """An entry of `npstyle.atlas.links` that the source no longer contains."""


def read_module(
    module: ModuleType, names: Collection[str], link: Linker, number: int = 1
) -> Module:
    """Read the derivation and the code of a module.

    Parameters
    ----------
    module : module
    names : collection of str
        The functions to show. All functions of the textbook's modules are shown anyway, and all
        that compute a formula.
    link : callable
        Returns the address of a name of the code, or None.
    number : int
        Number of the first formula.

    Raises
    ------
    StaleLinkError
        If `npstyle.atlas.links` names what the module does not contain.
    """
    title, parts = _derivation(inspect.getdoc(module) or "", link, number)
    source = inspect.getsource(module)
    tied = _tie(module.__name__, source, [f for part in parts for f in part.formulas])
    whole = module.__name__.startswith("npstyle.maths.")
    nodes = [
        node
        for node in _definitions(source)
        if whole or node.name in names or any(node.lineno <= k <= _end(node) for k in tied)
    ]
    functions = _functions(source, nodes, tied, link)
    path = module.__name__.replace(".", "/") + ".py"
    return Module(module.__name__, path, title, tuple(parts), tuple(functions))


def _definitions(source: str) -> list[Definition]:
    """Return the functions of a source, and the classes that have methods."""
    found: list[Definition] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found.append(node)
        elif isinstance(node, ast.ClassDef):
            found += [node] * any(isinstance(inner, ast.FunctionDef) for inner in node.body)
    return found


def _derivation(text: str, link: Linker, number: int) -> tuple[str, list[Part]]:
    """Return the first sentence of a docstring, and the parts of the rest."""
    title, parts = "", []
    for block in blocks(text):
        if block.kind == "formulas":
            rows = [
                Formula(number + k, line.strip(), to_mathml(line), line.startswith("    "))
                for k, line in enumerate(block.lines)
            ]
            number += len(rows)
            parts.append(Part("formulas", "", tuple(rows)))
        elif block.kind == "steps":
            steps = [" ".join(line.split()[1:]) for line in block.lines]
            items = "".join(f"<li>{inline(step, link)}</li>" for step in steps)
            parts.append(Part("steps", items))
        elif not title:
            title = inline(" ".join(block.lines), link)
        else:
            parts.append(Part(block.kind, inline(" ".join(block.lines), link)))
    return title, parts


def _tie(name: str, source: str, formulas: list[Formula]) -> dict[int, list[int]]:
    """Link lines and formulas; returns the formulas' numbers by the number of the line."""
    tied: dict[int, list[int]] = {}
    lines = source.splitlines()
    for code, text in LINKS.get(name, ()):
        at = [k for k, line in enumerate(lines, 1) if code in line]
        meant = [formula for formula in formulas if text in formula.text]
        if not at or len(meant) != 1:
            raise StaleLinkError(
                f"{name}: {code!r} is in {len(at)} lines and {text!r} in {len(meant)} formulas"
            )
        for k in at:
            meant[0].lines.append(k)
            tied.setdefault(k, []).append(meant[0].number)
    return tied


def _functions(
    source: str, nodes: list[Definition], tied: dict[int, list[int]], link: Linker
) -> Iterator[Function]:
    """Yield the functions of a source, without their docstrings."""
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    formatter, lexer = HtmlFormatter(nowrap=True), PythonLexer(stripnl=False, ensurenl=False)
    made = highlight(source, lexer, formatter).split("\n")
    for node in nodes:
        doc = ast.get_docstring(node) or ""
        summary, _, details = doc.partition("\n\n")
        first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        hidden = _docstring_lines(node)
        lines = tuple(
            Line(k, made[k - 1], tuple(tied.get(k, ())))
            for k in range(first, _end(node) + 1)
            if k not in hidden
        )
        yield Function(node.name, inline(" ".join(summary.split()), link), escape(details), lines)


def _end(node: Definition) -> int:
    """Number of the last line."""
    assert node.end_lineno is not None
    return node.end_lineno


def _docstring_lines(node: Definition) -> set[int]:
    """Numbers of the lines of a docstring, and of the empty line below it."""
    if ast.get_docstring(node) is None:
        return set()
    text = node.body[0]
    assert text.end_lineno is not None
    end = node.body[1].lineno if len(node.body) > 1 else text.end_lineno + 1
    return set(range(text.lineno, min(end, text.end_lineno + 2)))
