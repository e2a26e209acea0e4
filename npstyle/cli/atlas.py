"""The command `npstyle atlas`: pages to look at."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click

from npstyle.cli.options import FILE, Command, argument, network, option
from npstyle.errors import InputError


def _parameters() -> list[click.Parameter]:
    return [
        argument("photo", "The photo; by default the demo's pictures.", required=False),
        argument("painting", "The painting.", required=False),
        option(
            "--output -o",
            "Folder to write; an atlas that is there is replaced.",
            default=Path("npstyle-atlas"),
            metavar="FOLDER",
            type=FILE,
        ),
        network(),
        option("--quiet -q", "Print errors only.", is_flag=True),
    ]


@click.command(cls=Command, parameters=_parameters)
def atlas(
    photo: Path | None, painting: Path | None, output: Path, network: str | None, quiet: bool
) -> None:
    """Write pages to look at: every derivation, activation and gradient.

    The pages are made from the source, and the checks that they show are run while they are made.
    They need no server and no connection: open index.html in the folder. Needs the extra `atlas`.

    [bold]npstyle atlas -o atlas[/bold]

    [bold]npstyle atlas -o atlas town.jpg starry_night.jpg[/bold]
    """
    from npstyle.atlas.folder import check_folder
    from npstyle.atlas.pair import demo_pair, read_pair
    from npstyle.atlas.site import build, check_extras
    from npstyle.networks.network import load_network

    check_extras()
    check_folder(output)
    if photo is not None and painting is None:
        raise InputError(f"{photo}: an atlas needs a photo and a painting; give both, or neither")
    pair = demo_pair() if photo is None or painting is None else read_pair(photo, painting)
    with _announced(quiet) as announce:
        build(output, pair, load_network(network), announce)
    if not quiet:
        print(f"open {output / 'index.html'}")


@contextmanager
def _announced(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function that shows a bar on a terminal, and a line for each part elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if sys.stdout.isatty() and not quiet:
        columns = BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.description}")
        with Progress(*columns, expand=True) as bar:
            task = bar.add_task("")
            yield lambda done, of, what: bar.update(
                task, completed=done, total=of, description=what
            )
        return
    latest = ""

    def line(done: int, of: int, what: str) -> None:
        nonlocal latest
        if what != latest and what and not quiet:
            print(f"{done}/{of} {what}", flush=True)
        latest = what

    yield line
