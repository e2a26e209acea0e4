"""The main command: `npstyle transfer`."""

from pathlib import Path
from typing import Any

import rich_click as click

from npstyle.cli.options import FILE, Command, argument, network, option, options
from npstyle.errors import InputError

ONE_EACH = ("blend", "content_masks", "style_masks")
"""Options with one value for each painting, in the order of the paintings."""


def _parameters() -> list[click.Parameter]:
    from npstyle.run.machine import Machine
    from npstyle.run.pictures import Pictures
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings
    from npstyle.run.table import PAINTINGS

    return [
        argument("photo", "The photo, which gives the content."),
        argument("paintings", "One or more paintings, which give the style.", nargs=-1),
        *options(Outputs, "output"),
        network(),
        option(
            "--style",
            "The paintings, as an option instead of arguments.",
            panel=PAINTINGS,
            metavar="PICTURE...",
            multiple=True,
            type=FILE,
        ),
        *options(Settings),
        *options(Pictures),
        *(entry for entry in options(Outputs) if entry.name != "output"),
        *options(Machine),
    ]


@click.command(cls=Command, parameters=_parameters)
def transfer(
    photo: Path,
    paintings: tuple[Path, ...],
    style: tuple[Path, ...],
    network: str | None,
    **entries: Any,
) -> None:
    """Render a photo in the style of one or more paintings.

    The picture changes step by step until a convolutional network sees the photo's content and
    the painting's style in it. Ctrl-C ends the search early and keeps the best picture so far.

    [bold]npstyle transfer town.jpg starry_night.jpg -o out.png[/bold]

    Stronger style: [bold]npstyle transfer town.jpg starry_night.jpg --style-weight 1e4[/bold]

    From noise: [bold]npstyle transfer town.jpg starry_night.jpg --init noise --seed 3[/bold]

    Two paintings: [bold]npstyle transfer town.jpg night.jpg scream.jpg --blend 3 7[/bold]

    One for the sky: [bold]npstyle transfer a.jpg b.jpg c.jpg --content-mask sky.png land.png[/bold]
    """
    from dataclasses import replace

    from npstyle.cli.run import run_and_save
    from npstyle.files import free_name
    from npstyle.run.machine import Machine
    from npstyle.run.pictures import Pictures
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import read_given

    given = read_given(Settings, entries)
    settings = with_preset(given)
    if "adam_step" in given and settings.optimizer != "adam":
        raise InputError(
            "--adam-step: has no effect on lbfgs, which finds its own steps; add --optimizer adam"
        )
    named = (*paintings, *style)
    if paintings and style and any(entries[name] for name in ONE_EACH):
        raise InputError(
            "--style: with --blend or masks the order of the paintings counts; give all of them as "
            "arguments, or all by --style"
        )
    outputs = Outputs(**read_given(Outputs, entries))
    default = Path("-".join(picture.stem for picture in (photo, *named)) + ".png")
    run_and_save(
        Pictures(photo, named, **read_given(Pictures, entries)),
        network,
        settings,
        Machine(**read_given(Machine, entries)),
        replace(outputs, output=outputs.output or free_name(default)),
    )
