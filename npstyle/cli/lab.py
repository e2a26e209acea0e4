"""The laboratory's commands: `npstyle gradcheck` and `npstyle explain`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from npstyle.cli.options import Command, argument, count, option, options
from npstyle.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npstyle.lab.gradcheck import Report

FULL, QUICK = (64, 60, 8), (32, 8, 2)
"""Defaults of --size, --samples and --directions, without and with --quick."""

NETWORK, SHAPE = "builtin", "4,5,3"
"""Defaults of --network and --shape."""


@dataclass(frozen=True)
class Checks:
    """The derivatives to check, and how thoroughly.

    Attributes
    ----------
    target : str or None
        FILE.py:NAME; None: npstyle's own derivatives.
    network : str
    shape : str
        Shape of the random inputs of a user's function.
    seed : int
    size, samples, directions : int
        Side of the objective's picture in pixels; number of coordinates to check in each large
        array; number of random directions.
    """

    target: str | None
    network: str
    shape: str
    seed: int
    size: int
    samples: int
    directions: int


def _number(name: str, help: str, k: int) -> click.Parameter:
    """Return an option whose default depends on --quick."""
    shown = f"{FULL[k]}, with --quick {QUICK[k]}"
    return option(name, help, shown=shown, metavar="N", type=int, callback=count)


def _gradcheck_parameters() -> list[click.Parameter]:
    from npstyle.run.machine import Machine

    return [
        argument(
            "target",
            "A function of your own, with its derivatives in the same file, as above. Without it "
            "npstyle's own derivatives are checked.",
            str,
            required=False,
            metavar="[FILE.py:NAME]",
        ),
        option(
            "--network",
            "The network whose layers and objective are checked.",
            shown=NETWORK,
            metavar="builtin|vgg19|FILE",
        ),
        _number("--size", "Side of the objective's picture, in pixels.", 0),
        _number("--samples", "Coordinates to check in each large array.", 1),
        _number("--directions", "Number of random directions.", 2),
        option(
            "--shape",
            "Shape of the random inputs of a function of your own.",
            shown=SHAPE,
            metavar="N,...",
        ),
        option(
            "--seed",
            "Seed of the inputs, directions and samples.",
            default=0,
            metavar="N",
            type=click.IntRange(min=0),
        ),
        *options(Machine, "device", defaults={"device": "cpu"}),
        option("--quick", "Take fewer samples, in less than 10 s.", is_flag=True),
        option("--json as_json", "Print every number as JSON, not as a table.", is_flag=True),
        option(
            "--plot",
            "Draw Taylor remainders, errors, and the entries of wrong gradients (.png, .pdf or "
            ".svg). Needs npstyle[plots].",
            metavar="FILE.png",
            type=click.Path(path_type=Path),
        ),
    ]


@click.command(cls=Command, parameters=_gradcheck_parameters)
def gradcheck(
    quick: bool, as_json: bool, plot: Path | None, device: str | None, **checks: object
) -> None:
    """Check every derivative numerically; the exit code is 1 if one is wrong.

    Each derivative is compared with central differences at coordinates and along random
    directions, with the slopes of Taylor remainders, with the adjoint test where the function is
    linear, and with the complex step where it is analytic. Points at a kink (a ReLU at 0, a tie in
    max pooling) are counted separately.

    [bold]npstyle gradcheck --network vgg19[/bold]

    [bold]npstyle gradcheck --device cuda[/bold]

    [bold]npstyle gradcheck my_formula.py:my_loss[/bold]

    A function of your own may return an array, a number, or a tuple of arrays; the upstream
    gradient dL/dF is then a tuple, too. Other names in the file tell the rest:

    [bold]NAME_backward(upstream, *inputs)[/bold] returns the gradient, or a tuple with one array
    per input. [bold]NAME_backward(*inputs)[/bold] will do where NAME returns a number, and
    [bold]NAME_backward(upstream, cache)[/bold] where it returns (result, cache). Without it, NAME
    returns the pair (value, gradient).

    [bold]NAME_inputs(rng)[/bold] returns the inputs as a tuple; without it they are random arrays.

    [bold]NAME_fixed = ("mask",)[/bold] names inputs that have no derivative. Integers, strings and
    other inputs without float numbers are fixed anyway.

    [bold]NAME_jvp(inputs, tangents)[/bold] takes two tuples and returns the derivative along the
    tangents. The tangent of a fixed input is None.

    [bold]NAME_hvp(inputs, tangents)[/bold] returns the product of the Hessian with the tangents,
    one array per input.
    """
    from npstyle.cli import console
    from npstyle.engine.device import find_device, on_device
    from npstyle.engine.machine import physical_cores
    from npstyle.engine.threads import use_threads
    from npstyle.run.plots import check_plot

    if plot is not None:
        check_plot(plot)
    numbers = dict(zip(("size", "samples", "directions"), QUICK if quick else FULL, strict=True))
    defaults = {"target": None, "network": NETWORK, "shape": SHAPE, **numbers}
    given = {name: value for name, value in checks.items() if value is not None}
    wanted = Checks(**(defaults | given))  # type: ignore[arg-type]
    place = find_device(device or "cpu")
    if wanted.target is not None and device not in (None, "cpu"):
        raise InputError(
            "--device: npstyle cannot choose where a function of your own computes; leave it out"
        )
    foreign, whose = ["network", "size"], "npstyle's own derivatives"
    if wanted.target is None:
        foreign, whose = ["shape"], "a function of your own"
    for name in foreign:
        if name in given:
            raise InputError(f"--{name}: is for {whose} only; leave it out")
    display = console.ReportTable(silent=as_json)
    reports: list[Report] = []
    with on_device(place), use_threads(physical_cores()):
        for report in _reports(wanted, place.is_gpu):
            if not reports and not as_json and device not in (None, "cpu"):
                console.print_device(place)
            reports.append(report)
            display.add(report)
    if as_json:
        print(json.dumps([report.as_dict() for report in reports], indent=1))
    else:
        display.finish(reports)
    if plot is not None:
        from npstyle.lab.plots import plot_reports

        plot_reports(plot, reports)
    if not all(report.passed for report in reports):
        raise Exit(1)


def _reports(wanted: Checks, on_gpu: bool) -> "Iterator[Report]":
    """Return the reports, each as soon as its derivative has been checked."""
    from npstyle.lab.suite import check_file, check_gpu, check_network
    from npstyle.networks.network import load_network

    if wanted.target is None:
        check = check_gpu if on_gpu else check_network
        numbers = (wanted.size, wanted.samples, wanted.directions)
        return check(load_network(wanted.network), *numbers, wanted.seed)
    shape = wanted.shape
    try:
        sides = tuple(int(side) for side in shape.split(","))
    except ValueError as error:
        raise InputError(f"--shape {shape}: write whole numbers with commas, like 4,5,3") from error
    if min(sides) < 1:
        raise InputError(f"--shape {shape}: every side must be 1 or more")
    return iter([check_file(wanted.target, sides, wanted.samples, wanted.directions, wanted.seed)])


def _explain_parameters() -> list[click.Parameter]:
    return [
        argument(
            "chapter", "The chapter; without it, all chapters are listed.", str, required=False
        )
    ]


@click.command(cls=Command, parameters=_explain_parameters)
def explain(chapter: str | None) -> None:
    """Show a derivation, its code and its checks on one screen.

    The output is a page of the textbook with the formula and its derivative, the source of its
    functions, the numerical check of the derivatives at small random inputs, and how closely the
    engine's functions agree with the page.

    [bold]npstyle explain conv2d[/bold]
    """
    from npstyle.cli import console
    from npstyle.lab.explain import chapters
    from npstyle.lab.explain import explain as explain_chapter

    if chapter is None:
        print(f"chapters: {', '.join(chapters())}")
        return
    found = explain_chapter(chapter)
    print(found.text)
    console.print_source(found.source)
    display = console.ReportTable()
    for report in found.checks:
        display.add(report)
    display.finish(found.checks)
    if not found.passed:
        raise Exit(1)
