"""Plots of a run (needs the extra `plots`: Matplotlib)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole

SUFFIXES = (".png", ".pdf", ".svg")


def check_plot(path: Path) -> None:
    """Raise InputError if Matplotlib is missing or the file cannot be written."""
    check_destination(path, SUFFIXES)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--plot {path}: plots need Matplotlib, which is not installed; "
            "install it with pip install 'npstyle[plots]'"
        ) from error


def plot_losses(path: Path, history: Sequence[tuple[int, float, Mapping[str, float]]]) -> None:
    """Plot the loss and its terms against the evaluations of a run.

    Parameters
    ----------
    path : Path
        .png, .pdf or .svg.
    history : sequence of (evaluations, loss, terms by name)
    """
    with _semilogy(path, "evaluations of loss and gradient", "weighted term") as axes:
        evaluations = [entry[0] for entry in history]
        axes.plot(evaluations, [entry[1] for entry in history], "k", lw=2, label="loss")
        for name in history[-1][2]:
            values = [entry[2].get(name, np.nan) for entry in history]
            axes.plot(evaluations, values, _line_style(name), label=name)


def plot_training(path: Path, log: Sequence[Mapping[str, float]]) -> None:
    """Plot the terms of the loss against the steps of a training.

    Parameters
    ----------
    path : Path
        .png, .pdf or .svg.
    log : sequence of mappings
        "step", and the weighted terms by name.
    """
    with _semilogy(path, "steps", "weighted term, mean over steps") as axes:
        steps = [row["step"] for row in log]
        for name in log[-1]:
            if name != "step":
                values = [row.get(name, np.nan) for row in log]
                axes.plot(
                    steps, values, _line_style(name), marker=".", label=name
                )  # one is a point


def _line_style(name: str) -> str:
    return "--" if name.startswith("content") else "-"


@contextmanager
def _semilogy(path: Path, xlabel: str, ylabel: str) -> Iterator[Any]:
    """Yield axes with a logarithmic scale; write the plot when the block ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    yield axes
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    with written_whole(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=110)
