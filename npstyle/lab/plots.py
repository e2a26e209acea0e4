"""Plots of the laboratory's results (needs the extra `plots`: Matplotlib)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npstyle.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from npstyle.lab.gradcheck import Report

MARKERS = {
    "coordinates": "o",
    "directions": "s",
    "adjoint": "^",
    "jvp": "v",
    "hvp": "<",
    "complex step": "x",
    "equals whole": "d",
    "textbook": "+",
}


LEAST = 1e-17
"""Where an error of 0 is drawn."""

MOST_NAMED = 8
"""Number of wrong gradients whose entries are drawn."""


def _marker(method: str) -> str:
    """Return the marker of a method; "jvp adjoint" has that of "jvp"."""
    return MARKERS[method] if method in MARKERS else MARKERS[method.split()[0]]


def plot_reports(path: Path, reports: "Sequence[Report]") -> None:
    """Plot the Taylor remainders against h, and the worst error of every subject.

    If a derivative is wrong, a third panel plots its entries against the numeric ones.

    Parameters
    ----------
    path : Path
        .png, .pdf or .svg.
    reports : sequence of Report
    """
    from matplotlib.figure import Figure

    wrong = [
        (f"{report.name}, input {outcome.argument}", outcome.compared)
        for report in reports
        for outcome in report.outcomes
        if outcome.compared
    ]
    height = max(5.0, 0.17 * len(reports) + 1.5)
    panels = 3 if wrong else 2
    figure = Figure(figsize=(6.5 * panels, height), layout="constrained")
    left, middle, *right = figure.subplots(1, panels)
    _plot_remainders(left, reports)
    _plot_errors(middle, reports)
    if wrong:
        _plot_entries(right[0], wrong)
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=110)


def _plot_remainders(axes: "Axes", reports: "Sequence[Report]") -> None:
    for report in reports:
        for outcome in report.outcomes:
            if outcome.remainders and np.isfinite(outcome.slopes or (np.nan,)).all():
                h = np.array(outcome.steps)
                first, second = (np.array(r) for r in outcome.remainders)
                color = "tab:blue" if outcome.passed else "tab:red"
                axes.loglog(h, first / first[0], color="0.7", lw=1)
                axes.loglog(h, second / second[0], color=color, lw=1, marker=".", ms=3)
    h = np.array([1e-7, 1e-2])
    axes.loglog(h, h / h[-1], "k:", lw=1.5, label="slope 1")
    axes.loglog(h, (h / h[-1]) ** 2, "k--", lw=1.5, label="slope 2")
    axes.plot([], [], color="0.7", label="|f(x+hv) - f(x)|")
    axes.plot([], [], color="tab:blue", marker=".", label="|f(x+hv) - f(x) - h<g,v>|")
    axes.set(
        xlabel="h",
        ylabel="remainder / its value at the longest step",
        title="Taylor remainders; slope 2 is right, slope 1 (red) wrong",
    )
    axes.legend(loc="lower right")


def _plot_errors(axes: "Axes", reports: "Sequence[Report]") -> None:
    shown = set()
    for k, report in enumerate(reports):
        for outcome in report.outcomes:
            if outcome.remainders:
                continue
            marker = _marker(outcome.method)
            shown.add(marker)
            color = "tab:blue" if outcome.passed else "tab:red"
            axes.semilogx(max(outcome.error, LEAST), k, marker, color=color, ms=4)
    axes.set_yticks(range(len(reports)), [report.name for report in reports], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(LEAST / 3, max(10.0, axes.get_xlim()[1]))
    for label, marker in MARKERS.items():
        if marker in shown:
            axes.plot([], [], marker, color="tab:blue", ms=4, label=label)
    axes.set(
        xlabel=f"worst relative error (0 is drawn at {LEAST:.0e})", title="Errors; red: failed"
    )
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left")


def _plot_entries(
    axes: "Axes", wrong: "Sequence[tuple[str, Sequence[tuple[float, float]]]]"
) -> None:
    """Plot the entries of wrong gradients: right ones lie on the diagonal."""
    for name, compared in wrong[:MOST_NAMED]:
        analytic, numeric = np.array(compared).T
        axes.plot(numeric, analytic, ".", ms=5, label=name)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], "k--", lw=1, label="analytic = numeric", zorder=0)
    axes.set(
        xlabel="numeric derivative",
        ylabel="analytic derivative",
        title="Entries of the wrong gradients; right ones lie on the diagonal",
    )
    axes.legend(loc="best", fontsize=7)
