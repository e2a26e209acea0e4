"""One chapter on one screen: derivation, code, numerical checks, and the engine's agreement."""

import inspect
import io
from dataclasses import dataclass
from html import escape

import numpy as np
from rich.console import Console
from rich.syntax import Syntax

from npstyle.engine import cpu
from npstyle.errors import InputError
from npstyle.lab.agreement import agreement
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.gradcheck import Report, check_subject
from npstyle.lab.suite import AGREEMENT_SIZE
from npstyle.lab.summary import reports_html, reports_text
from npstyle.lab.whole import tile_outcomes, whole_agreements
from npstyle.lab.whole_training import adam_outcome, training_outcome
from npstyle.networks.network import load_network

CODE_WIDTH = 100
"""Width of the code in a notebook, in characters."""


@dataclass(frozen=True, repr=False)
class Explanation:
    """A chapter, explained: shown as text in a terminal, and as HTML in a notebook.

    Attributes
    ----------
    name : str
    text : str
        The derivation: the page's docstring.
    source : str
        Source of the page's functions.
    reports : tuple of Report
        The derivatives, checked numerically.
    agreements : tuple of Report
        The engine's functions on the CPU, compared with the page.
    """

    name: str
    text: str
    source: str
    reports: tuple[Report, ...]
    agreements: tuple[Report, ...]

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(report.passed for report in self.checks)

    @property
    def checks(self) -> tuple[Report, ...]:
        """The derivatives' reports, then the engine's."""
        return (*self.reports, *self.agreements)

    def __repr__(self) -> str:
        return "\n\n".join([self.text, self.source.rstrip(), reports_text(self.checks)])

    def _repr_html_(self) -> str:
        text = f"<pre>{escape(self.text)}</pre>"
        return f"<div>{text}{_code_html(self.source)}{reports_html(self.checks)}</div>"


def _code_html(source: str) -> str:
    """Return Python source with colours, on a background of its own."""
    console = Console(record=True, file=io.StringIO(), width=CODE_WIDTH, force_jupyter=False)
    console.print(Syntax(source, "python"))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def chapters() -> tuple[str, ...]:
    """Return the names of all chapters, in reading order."""
    return tuple(CHAPTERS)


def explain(name: str, seed: int = 0) -> Explanation:
    """Explain a chapter.

    Parameters
    ----------
    name : str
        One of `chapters()`.
    seed : int
        Seed of the inputs of the checks.

    Raises
    ------
    InputError
        If there is no such chapter.
    """
    if name not in CHAPTERS:
        raise InputError(f"explain {name}: no such chapter; choose from {', '.join(CHAPTERS)}")
    chapter = CHAPTERS[name]
    subjects = chapter.subjects(np.random.default_rng(seed))
    return Explanation(
        name,
        inspect.getdoc(chapter.module) or "",
        "\n\n".join(inspect.getsource(function) for function in chapter.functions),
        tuple(check_subject(subject, seed=seed) for subject in subjects),
        tuple(_agreements(name, seed)),
    )


def _agreements(name: str, seed: int) -> list[Report]:
    """Reports of the engine's functions, or of a whole network where the page describes one."""
    functions = [function for function in CHAPTERS[name].engine if hasattr(cpu, function)]
    found = [(f"cpu {f}", agreement(f, cpu, np.float64, seed)) for f in functions]
    if name in ("network", "objective"):
        every = whole_agreements(load_network("builtin"), cpu, AGREEMENT_SIZE, seed)
        found += [(f"cpu {what}", outcome) for what, outcome in every if what.startswith(name)]
    if name == "tiles":
        found += tile_outcomes(load_network("builtin"), seed)
    if name == "adam":
        found.append(("cpu adam_step", adam_outcome(seed)))
    if name in ("checkerboard", "training"):
        found.append(("cpu batch_gradient", training_outcome(seed)))
    return [Report(what, (outcome,)) for what, outcome in found]
