"""Plots of a run and of what the laboratory found (the extra `plots`: Matplotlib)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole

if TYPE_CHECKING:
    from npstyle.lab.gradcheck import Report

SUFFIXES = (".png", ".pdf", ".svg")
MARKERS = {
    "coordinates": "o",
    "directions": "s",
    "adjoint": "^",
    "complex step": "x",
    "equals whole": "d",
}


def check_plot(path: Path) -> None:
    """Raise InputError if no plot can be written: no Matplotlib, or a bad destination."""
    check_destination(path, SUFFIXES)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--plot {path}: plots need Matplotlib, which is not installed; "
            "install it with pip install 'npstyle[plots]'"
        ) from error


def plot_reports(path: Path, reports: "Sequence[Report]") -> None:
    """Draw the Taylor remainders over h and the worst error of every subject.

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
        differences = [o for o in report.outcomes if o.method != "taylor"]
        for outcome in differences:
            right.semilogx(
                max(outcome.error, 1e-17),
                k,
                MARKERS[outcome.method],
                color="tab:blue" if outcome.passed else "tab:red",
                ms=4,
            )
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.invert_yaxis()
    for marker, label in [
        ("o", "coordinates"),
        ("s", "directions"),
        ("^", "adjoint"),
        ("x", "complex step"),
    ]:
        right.plot([], [], marker, color="tab:blue", ms=4, label=label)
    right.set(xlabel="worst relative error (0 is drawn at 1e-17)", title="Errors; red: failed")
    right.grid(axis="x", alpha=0.3)
    right.legend(loc="lower left")
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=110)


def plot_losses(path: Path, history: Sequence[tuple[int, float, Mapping[str, float]]]) -> None:
    """Draw the loss and each of its terms over the evaluations of a run.

    Parameters
    ----------
    path : Path
        .png, .pdf or .svg.
    history : sequence of (evaluations, loss, terms by name)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    evaluations = [entry[0] for entry in history]
    axes.semilogy(evaluations, [entry[1] for entry in history], "k", lw=2, label="loss")
    for name in history[-1][2]:
        values = [entry[2].get(name, np.nan) for entry in history]
        axes.semilogy(evaluations, values, "--" if name.startswith("content") else "-", label=name)
    axes.set(xlabel="evaluations of loss and gradient", ylabel="weighted term")
    axes.grid(alpha=0.3)
    axes.legend()
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=110)
