"""The page of one chapter: derivation, code, proof, mistakes, examples, the engine's agreement."""

import sys
from dataclasses import dataclass

import numpy as np

from npstyle.atlas.charts import Axis, Series, line_chart
from npstyle.atlas.docstrings import inline
from npstyle.atlas.examples import Example, Grid, examples, grids
from npstyle.atlas.sources import Linker, Module, read_module
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.explain import explain
from npstyle.lab.gradcheck import Report, check_subject
from npstyle.lab.methods import Outcome
from npstyle.lab.mutations import MUTATIONS

METHODS = ("coordinates", "directions", "taylor", "adjoint", "complex step")

MUTATION_SEED = 1
"""Seed of a wrong derivative's inputs."""

FEW, FEWER = (30, 5), (5, 2)
"""How many entries and directions of a wrong derivative are checked, and of one that takes long."""


@dataclass(frozen=True)
class Contents:
    """An entry of the contents.

    Attributes
    ----------
    file : str
        Of the page.
    modules : tuple of str
        The modules that the page explains.
    chapters : tuple of str
        The chapters of `npstyle.lab.battery.CHAPTERS` on it.
    title : str
    lead : str
        The first sentence of the docstring, as HTML; empty if it is the title.
    """

    file: str
    modules: tuple[str, ...]
    chapters: tuple[str, ...]
    title: str
    lead: str

    @property
    def is_textbook(self) -> bool:
        """False for what the engine derives."""
        return self.modules[0].startswith("npstyle.maths.")


@dataclass(frozen=True)
class Proof:
    """The checks of one derivative: by method the worst error, or the slope, in words."""

    name: str
    cells: tuple[str, ...]
    passed: bool


@dataclass(frozen=True)
class Mistake:
    """A wrong derivative and how it was caught.

    Attributes
    ----------
    name : str
    sentence : str
        What is wrong, as HTML.
    caught : tuple of (method, what it found)
        One entry for each method that failed.
    missed : tuple of str
        Methods that did not notice.
    """

    name: str
    sentence: str
    caught: tuple[tuple[str, str], ...]
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """All that the page of a chapter shows.

    Attributes
    ----------
    contents : Contents
    modules : tuple of Module
    proofs : tuple of Proof
    charts : tuple of (name, svg, caption)
        Taylor remainders; empty where every function is linear.
    mistakes : tuple of Mistake
    agreements : tuple of (function, sentence, tolerance)
    examples : tuple of (Example, grids)
    passed : bool
    is_linear : bool
        Of a page without charts: False if its functions are linear between kinks only.
    """

    contents: Contents
    modules: tuple[Module, ...]
    proofs: tuple[Proof, ...]
    charts: tuple[tuple[str, str, str], ...]
    mistakes: tuple[Mistake, ...]
    agreements: tuple[tuple[str, str, str], ...]
    examples: tuple[tuple[Example, tuple[Grid, ...]], ...]
    passed: bool
    is_linear: bool


def table_of_contents() -> tuple[Contents, ...]:
    """Return the pages in reading order: one for each file of the textbook, then the engine's."""
    chapters: dict[str, list[str]] = {}
    modules: dict[str, list[str]] = {}
    for name, chapter in CHAPTERS.items():
        first = chapter.module.__name__
        chapters.setdefault(first, []).append(name)
        found = modules.setdefault(first, [])
        found += dict.fromkeys(f.__module__ for f in chapter.functions if f.__module__ not in found)
    return tuple(_entry(tuple(modules[first]), tuple(chapters[first])) for first in chapters)


def _entry(modules: tuple[str, ...], chapters: tuple[str, ...]) -> Contents:
    doc = sys.modules[modules[0]].__doc__ or ""
    sentence = " ".join(doc.strip().partition("\n\n")[0].split())
    title, colon, rest = sentence.partition(":")
    if not colon:
        title, _, rest = sentence.partition(",")[0].rstrip("."), "", sentence
    of_textbook = modules[0].startswith("npstyle.maths.")
    name = modules[0].rpartition(".")[2] if of_textbook else chapters[0]
    rest = rest.strip()[:1].upper() + rest.strip()[1:]
    return Contents(f"{name}.html", modules, chapters, title, inline(rest))


def linker(contents: tuple[Contents, ...]) -> Linker:
    """Return a function from a name of the code to the address of its page."""
    addresses = {}
    for entry in contents:
        for name in entry.chapters:
            for function in CHAPTERS[name].functions:
                addresses[function.__name__] = f"{entry.file}#{function.__name__}"
        for module in entry.modules:
            addresses[module] = entry.file
    return addresses.get


def make_page(contents: Contents, link: Linker, seed: int = 0) -> Page:
    """Run the checks of a chapter and return its page."""
    modules, first = [], 1
    for name in contents.modules:
        functions = [f.__name__ for c in contents.chapters for f in CHAPTERS[c].functions]
        modules.append(read_module(sys.modules[name], functions, link, first))
        first += len(modules[-1].formulas)
    explained = [explain(name, seed) for name in contents.chapters]
    reports = [report for found in explained for report in found.reports]
    agreements = [report for found in explained for report in found.agreements]
    stem = contents.file.removesuffix(".html")
    return Page(
        contents,
        tuple(modules),
        tuple(map(_proof, reports)),
        tuple(taylor_charts(stem, reports)),
        tuple(_mistake(name) for name, m in MUTATIONS.items() if m.chapter in contents.chapters),
        tuple((r.name, r.outcomes[0].note, number(r.outcomes[0].tolerance)) for r in agreements),
        tuple((e, grids(e)) for e in examples() if e.module == contents.modules[0]),
        all(found.passed for found in explained),
        any(outcome.method == "adjoint" for report in reports for outcome in report.outcomes),
    )


def _proof(report: Report) -> Proof:
    cells = []
    for method in METHODS:
        found = [o for o in report.outcomes if o.method == method]
        cells.append(_cell(found))
    kinks = report.kinks
    return Proof(report.name, (*cells, str(kinks) if kinks else "–"), report.passed)


def _cell(outcomes: list[Outcome]) -> str:
    """Say what a method found, over all inputs."""
    if not outcomes:
        return "–"
    if outcomes[0].method != "taylor":
        return number(max(outcome.error for outcome in outcomes))
    slopes = [o.slopes[1] for o in outcomes if o.slopes is not None and np.isfinite(o.slopes[1])]
    return f"{min(slopes):.2f}" if slopes else "linear"


def number(value: float) -> str:
    """Write an error in a few letters."""
    if not value:
        return "0"
    mantissa, _, power = f"{value:.0e}".partition("e")
    return f"{mantissa}·10{str(int(power)).translate(RAISED)}"


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def taylor_charts(stem: str, reports: list[Report]) -> list[tuple[str, str, str]]:
    """Draw the Taylor remainders of a chapter, unless all of its functions are linear."""
    lines = [o for r in reports for o in r.outcomes if o.remainders and _is_fitted(o)]
    if not lines:
        return []
    drawn = [*_guides(), *_remainders(lines, "c0 marked", "second remainder")]
    chart = line_chart(
        "Taylor remainders against the step h",
        Axis("h", log=True),
        Axis("remainder / that of the longest step", log=True),
        drawn,
    )
    slopes = [o.slopes[1] for o in lines if o.slopes is not None]
    caption = (
        f"Taylor remainders along {len(lines)} line{'s' * (len(lines) > 1)} through random points. "
        "The first remainder |f(x + hv) − f(x)| falls with slope 1. The second, with h⟨g, v⟩ "
        f"subtracted, falls with slope 2 ({min(slopes):.2f} to {max(slopes):.2f} here) if the "
        "gradient g is right. Where the lines become level, all that is left is rounding."
    )
    return [(f"{stem}-taylor", chart, caption)]


def _is_fitted(outcome: Outcome) -> bool:
    return outcome.slopes is not None and bool(np.isfinite(outcome.slopes).all())


def _guides() -> list[Series]:
    """Lines of both slopes, beside the remainders."""
    h = np.array([1e-6, 1e-2])
    return [
        Series("slope 1", h, 10 * (h / h[-1]), "c7 dotted"),
        Series("slope 2", h, 0.1 * (h / h[-1]) ** 2, "c7 dashed"),
    ]


def _remainders(outcomes: list[Outcome], style: str, name: str) -> list[Series]:
    made = []
    for k, outcome in enumerate(outcomes):
        first, second = (np.array(r) for r in outcome.remainders)
        title = "first remainder" if k == 0 else ""
        made.append(Series(title, outcome.steps, first / (first[0] or 1), "c7 thin"))
        title = name if k == 0 else ""
        made.append(Series(title, outcome.steps, second / (second[0] or 1), f"{style} thin"))
    return made


def _mistake(name: str) -> Mistake:
    """Check a wrong derivative and say how it was caught."""
    mutation = MUTATIONS[name]
    subject = mutation.build(np.random.default_rng(MUTATION_SEED))
    samples, directions = FEWER if mutation.chapter == "training" else FEW
    report = check_subject(subject, samples, directions, MUTATION_SEED)
    caught: dict[str, str] = {}
    for outcome in report.outcomes:
        if not outcome.passed:
            caught.setdefault(outcome.method, outcome.note)
    run = dict.fromkeys(outcome.method for outcome in report.outcomes)
    return Mistake(
        name,
        inline(mutation.mistake),
        tuple(caught.items()),
        tuple(method for method in run if method not in caught),
    )
