"""The laboratory's commands: `npstyle gradcheck` and `npstyle explain`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npstyle.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npstyle.lab.gradcheck import Report


def gradcheck(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py:NAME]",
            help="A function of your own: NAME and NAME_backward in FILE.py (or NAME alone, "
            "returning value and gradient), checked at NAME_inputs(rng) or at random arrays. "
            "Without it, npstyle's own derivatives are checked.",
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="The network whose layers and objective are checked.")
    ] = "builtin",
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of the objective's picture, in pixels. "
            "[dim]Default: 64, with --quick 32.[/dim]"
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Coordinates per large array. [dim]Default: 60.[/dim]")
    ] = None,
    directions: Annotated[
        int | None, typer.Option(help="Random directions. [dim]Default: 8.[/dim]")
    ] = None,
    shape: Annotated[
        str, typer.Option(help="Shape of the random inputs of a function of your own.")
    ] = "4,5,3",
    seed: Annotated[int, typer.Option(help="Of inputs, directions and samples.", min=0)] = 0,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|auto|cuda|cuda:N",
            help="Where npstyle's own derivatives are computed; on a GPU, by its kernels.",
        ),
    ] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer samples, under 10 s.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON instead of the table.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw Taylor remainders and errors (.png, .pdf, .svg; extra `plots`)."),
    ] = None,
) -> None:
    """Prove every derivative against numbers; exit code 1 if one is wrong.

    Each derivative is held against central differences at coordinates and along random
    directions, the slopes of Taylor remainders, the adjoint test where the function is linear and
    the complex step where it is analytic. Points at a kink (a ReLU at 0, a tie in max pooling)
    are counted apart.

    [bold]npstyle gradcheck --network vgg19[/bold]

    [bold]npstyle gradcheck --device cuda[/bold]

    [bold]npstyle gradcheck my_formula.py:my_loss[/bold]
    """
    from npstyle.cli import console
    from npstyle.engine.device import find_device, on_device
    from npstyle.engine.machine import physical_cores
    from npstyle.engine.threads import use_threads
    from npstyle.run import plots

    if plot is not None:
        plots.check_plot(plot)
    if samples is None:
        samples = 8 if quick else 60
    if size is None:
        size = 32 if quick else 64
    if directions is None:
        directions = 2 if quick else 8
    if samples < 1 or directions < 1 or size < 1:
        raise InputError("--samples, --directions, --size: give numbers of 1 or more")
    place = find_device(device)
    if target is not None and device != "cpu":
        raise InputError("--device: a function of your own computes where it likes; leave it out")
    if not as_json and device != "cpu":
        console.print_device(place)
    display = console.ReportTable(silent=as_json)
    reports: list[Report] = []
    with on_device(place), use_threads(physical_cores()):
        numbers = (size, samples, directions)
        for report in _reports(target, network, numbers, shape, seed, place.is_gpu):
            reports.append(report)
            display.add(report)
    if as_json:
        print(json.dumps([report.as_dict() for report in reports], indent=1))
    else:
        display.finish(reports)
    if plot is not None:
        plots.plot_reports(plot, reports)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


def _reports(
    target: str | None,
    network: str,
    numbers: tuple[int, int, int],
    shape: str,
    seed: int,
    on_gpu: bool,
) -> "Iterator[Report]":
    """Reports; `numbers` are the objective's size, samples and directions."""
    from npstyle.lab.suite import check_file, check_gpu, check_network
    from npstyle.networks.network import load_network

    if target is None:
        check = check_gpu if on_gpu else check_network
        return check(load_network(network), *numbers, seed)
    try:
        sides = tuple(int(side) for side in shape.split(","))
    except ValueError as error:
        raise InputError(f"--shape {shape}: write whole numbers with commas, like 4,5,3") from error
    if min(sides) < 1:
        raise InputError(f"--shape {shape}: every side must be 1 or more")
    return iter([check_file(target, sides, *numbers[1:], seed)])


def explain(
    chapter: Annotated[
        str | None, typer.Argument(help="Which one; without it, all are listed.")
    ] = None,
) -> None:
    """Show a derivation, its code and its proof on one screen.

    Prints the formula and the derivative as the module's own text has them, the source of the
    functions, and a live check of one against the other on small random inputs.

    [bold]npstyle explain conv2d[/bold]
    """
    import inspect

    import numpy as np

    from npstyle.cli import console
    from npstyle.lab.battery import CHAPTERS
    from npstyle.lab.gradcheck import check_subject

    if chapter is None:
        print(f"chapters: {', '.join(CHAPTERS)}")
        return
    if chapter not in CHAPTERS:
        raise InputError(f"explain {chapter}: no such chapter; there are {', '.join(CHAPTERS)}")
    found = CHAPTERS[chapter]
    print(inspect.getdoc(found.module))
    console.print_source("\n\n".join(inspect.getsource(function) for function in found.functions))
    display = console.ReportTable()
    reports = [check_subject(subject) for subject in found.subjects(np.random.default_rng(0))]
    for report in reports:
        display.add(report)
    display.finish(reports)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)
