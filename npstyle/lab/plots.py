"""Plots of the laboratory's results (needs the extra `plots`: Matplotlib)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npstyle.files import written_whole

if TYPE_CHECKING:
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


def _marker(method: str) -> str:
    """Return the marker of a method; "jvp adjoint" has that of "jvp"."""
    return MARKERS[method] if method in MARKERS else MARKERS[method.split()[0]]


def plot_reports(path: Path, reports: "Sequence[Report]") -> None:
    """Plot the Taylor remainders against h, and the worst error of every subject.

    Parameters
    ----------
    path : Path
        .png, .pdf or .svg.
    reports : sequence of Report
    """
    from matplotlib.figure import Figure

    height = max(5.0, 0.17 * len(reports) + 1.5)
    figure = Figure(figsize=(13, height), layout="constrained")
    left, right = figure.subplots(1, 2)

    for report in reports:
        for outcome in report.outcomes:
            if outcome.remainders and np.isfinite(outcome.slopes or (np.nan,)).all():
                h = np.array(outcome.steps)
                first, second = (np.array(r) for r in outcome.remainders)
                color = "tab:blue" if outcome.passed else "tab:red"
                left.loglog(h, first / first[0], color="0.7", lw=1)
                left.loglog(h, second / second[0], color=color, lw=1, marker=".", ms=3)
    h = np.array([1e-7, 1e-2])
    left.loglog(h, h / h[-1], "k:", lw=1.5, label="slope 1")
    left.loglog(h, (h / h[-1]) ** 2, "k--", lw=1.5, label="slope 2")
    left.plot([], [], color="0.7", label="|f(x+hv) - f(x)|")
    left.plot([], [], color="tab:blue", marker=".", label="|f(x+hv) - f(x) - h<g,v>|")
    left.set(
        xlabel="h",
        ylabel="remainder / its value at the longest step",
        title="Taylor remainders; the floor is rounding",
    )
    left.legend(loc="lower right")

    names = [report.name for report in reports]
    for k, report in enumerate(reports):
        differences = [o for o in report.outcomes if not o.remainders]
        for outcome in differences:
            right.semilogx(
                max(outcome.error, 1e-17),
                k,
                _marker(outcome.method),
                color="tab:blue" if outcome.passed else "tab:red",
                ms=4,
            )
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.invert_yaxis()
    for label, marker in MARKERS.items():
        right.plot([], [], marker, color="tab:blue", ms=4, label=label)
    right.set(xlabel="worst relative error (0 is drawn at 1e-17)", title="Errors; red: failed")
    right.grid(axis="x", alpha=0.3)
    right.legend(loc="lower left")
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=110)
