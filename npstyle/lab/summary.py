"""Reports as rows, one for each method with its worst result, for a terminal and a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npstyle.run.notebook import table

if TYPE_CHECKING:
    from npstyle.lab.gradcheck import Report
    from npstyle.lab.methods import Outcome

HEADER = ("what", "method", "error", "slopes", "kinks", "", "s")
"""Names of the columns."""

ROW = "{:<26} {:<12} {:>7} {:>11} {:>5} {:>5} {:>6}"
"""The columns in a terminal."""


@dataclass(frozen=True)
class Row:
    """The outcomes of one method.

    Attributes
    ----------
    cells : tuple of str
        Texts of the columns `HEADER`; the name stands in the first row of a report only.
    passed : bool
    notes : tuple of str
        What is wrong, for each outcome that did not pass.
    """

    cells: tuple[str, ...]
    passed: bool
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The row for a terminal; the end of a long name is kept."""
        name, *others = self.cells
        return ROW.format(name if len(name) <= 26 else f"...{name[-23:]}", *others)


def rows_of(report: "Report") -> list[Row]:
    """Return the worst result of each method over its inputs."""
    name, rows = report.name, []
    for method in dict.fromkeys(outcome.method for outcome in report.outcomes):
        group = [outcome for outcome in report.outcomes if outcome.method == method]
        passed = all(outcome.passed for outcome in group)
        cells = (
            name,
            method,
            "" if method == "taylor" else f"{max(outcome.error for outcome in group):.1e}",
            _slopes(group),
            str(sum(outcome.kinks for outcome in group) or ""),
            "ok" if passed else "WRONG",
            f"{sum(outcome.seconds for outcome in group):.2f}",
        )
        notes = (
            (f"input {outcome.argument}, " if len(group) > 1 else "") + outcome.note
            for outcome in group
            if not outcome.passed
        )
        rows.append(Row(cells, passed, tuple(notes)))
        name = ""
    return rows


def _slopes(group: "Sequence[Outcome]") -> str:
    """Return the two slopes of the input whose second slope is farthest from 2."""
    slopes = [slope for outcome in group for slope in outcome.slopes or ()]
    pairs = sorted(
        zip(slopes[::2], slopes[1::2], strict=True),
        key=lambda pair: 0 if pair[1] != pair[1] else -abs(pair[1] - 2),
    )
    return " ".join("-" if s != s else f"{s:.3f}" for s in pairs[0]) if pairs else ""


def reports_text(reports: "Sequence[Report]") -> str:
    """Return reports as lines."""
    lines = [ROW.format(*HEADER)]
    for report in reports:
        for row in rows_of(report):
            lines += [row.text, *(f"    {note}" for note in row.notes)]
        lines += [f"    {note}" for note in report.notes]
    return "\n".join(lines)


def reports_html(reports: "Sequence[Report]") -> str:
    """Return reports as a table, for a notebook."""
    rows = [
        (*row.cells, "; ".join((*row.notes, *(report.notes if row.cells[0] else ()))))
        for report in reports
        for row in rows_of(report)
    ]
    return table(rows, (*HEADER, ""))
