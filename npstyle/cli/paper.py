"""The paper's experiments: `npstyle reconstruct`, `npstyle texture` and `npstyle figure`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from npstyle.cli.options import FILE, Command, argument, network, option, options

if TYPE_CHECKING:
    from npstyle.run.figures import Cell
    from npstyle.run.machine import Machine

DEFAULTS = {"size": 256, "init": "noise"}
"""Settings of the experiments that differ from the preset's."""

COMMON = ("pooling", "tv_weight", "iterations", "optimizer", "seed", "dtype", "exact", "precision")
"""Settings that `reconstruct` and `texture` have as options."""

FIGURE = ("size", "iterations", "seed", "precision")
"""Settings that the figures have as options."""


def _run_options(*names: str) -> list[click.Parameter]:
    """Return the options of a single run, with these settings."""
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import PRESETS, Settings

    usual = PRESETS["gatys"]
    shown = {name: getattr(usual, name) for name in ("pooling", "tv_weight", "iterations")}
    return [
        *options(Outputs, "output", "quiet"),
        network(),
        *options(Settings, *names, *COMMON, defaults=shown | DEFAULTS),
        *options(Machine, "threads", "device"),
    ]


def _reconstruct_parameters() -> list[click.Parameter]:
    return [
        argument("photo", "The photo to reconstruct."),
        option(
            "--layer",
            "The layer whose activations the photo is reconstructed from.",
            default="conv4_2",
            metavar="LAYER",
        ),
        *_run_options("size", "init"),
    ]


@click.command(cls=Command, parameters=_reconstruct_parameters)
def reconstruct(photo: Path, layer: str, network: str | None, **entries: Any) -> None:
    """Reconstruct a photo from the activations of one layer (Figure 1 of the paper, content).

    From a shallow layer (conv1_2) the photo comes back almost perfectly. A deep layer (conv5_2)
    keeps what is in the photo and where, but not the pixels.

    [bold]npstyle reconstruct town.jpg --layer conv4_2 -o town-conv4_2.png[/bold]
    """
    from npstyle.cli.run import run_and_save
    from npstyle.files import free_name
    from npstyle.run.experiments import reconstruction
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import read_given

    settings = with_preset(DEFAULTS | read_given(Settings, entries))
    outputs = Outputs(**read_given(Outputs, entries))
    default = free_name(Path(f"{photo.stem}-{layer}.png"))
    outputs = replace(outputs, output=outputs.output or default)
    pictures, settings = reconstruction(photo, layer, settings)
    run_and_save(pictures, network, settings, Machine(**read_given(Machine, entries)), outputs)


def _texture_parameters() -> list[click.Parameter]:
    from npstyle.run.settings import STYLE_LAYERS
    from npstyle.run.table import PICTURE

    return [
        argument("painting", "The painting to take the texture from."),
        option(
            "--layers",
            "The layers whose Gram matrices the texture is made from.",
            default=",".join(STYLE_LAYERS),
            metavar="LAYER[:WEIGHT],...",
        ),
        option(
            "--size",
            "Size of the texture, in pixels.",
            default="256",
            panel=PICTURE,
            metavar="SIDE|WIDTHxHEIGHT",
        ),
        *_run_options("style_scale", "init"),
    ]


@click.command(cls=Command, parameters=_texture_parameters)
def texture(painting: Path, layers: str, size: str, network: str | None, **entries: Any) -> None:
    """Make a texture of any size from a painting (Figure 1 of the paper, style).

    With conv1_1 alone the texture has the painting's colours and grain. Every deeper layer adds
    larger shapes, up to whole strokes.

    [bold]npstyle texture starry_night.jpg --layers conv1_1,conv2_1 --size 320x200[/bold]
    """
    from npstyle.cli.run import run_and_save
    from npstyle.files import free_name
    from npstyle.run import experiments
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import parse_layers, read_given, weighted

    settings = with_preset(DEFAULTS | read_given(Settings, entries))
    outputs = Outputs(**read_given(Outputs, entries))
    default = free_name(Path(f"{painting.stem}-texture.png"))
    outputs = replace(outputs, output=outputs.output or default)
    chosen = weighted(parse_layers("--layers", layers), share=False)
    pictures, settings = experiments.texture(
        painting, chosen, experiments.parse_size(size), settings
    )
    run_and_save(pictures, network, settings, Machine(**read_given(Machine, entries)), outputs)


@click.group()
def figure() -> None:
    """Draw the paper's figures, each on one labelled sheet with the single pictures beside it.

    An interrupted figure resumes where it stopped.
    """


def _figure_options(name: str, *names: str) -> list[click.Parameter]:
    """Return the options of a figure, with these settings in addition to the common ones."""
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import PRESETS, Settings

    usual = PRESETS["gatys"]
    shown = {"size": 256, "iterations": usual.iterations, "init": usual.init}
    return [
        option(
            "--output -o",
            "Folder for the pictures and the sheet (PNG and PDF).",
            default=Path(name),
            metavar="FOLDER",
            type=FILE,
        ),
        network(),
        *options(Settings, *names, *FIGURE, defaults=shown),
        *options(Machine, "threads", "device", "cluster"),
        *options(Outputs, "quiet"),
    ]


def _content_parameters() -> list[click.Parameter]:
    return [argument("photo", "The photo to reconstruct."), *_figure_options("figure-content")]


@figure.command("content", cls=Command, parameters=_content_parameters)
def figure_content(photo: Path, **entries: Any) -> None:
    """Figure 1, content: a photo from conv1_2, conv2_2, conv3_2, conv4_2 or conv5_2 alone."""
    from npstyle.run.figures import content_figure
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import read_given

    settings = with_preset({"size": 256} | read_given(Settings, entries))
    _draw(content_figure(photo, settings), entries)


def _style_parameters() -> list[click.Parameter]:
    return [
        argument("painting", "The painting to make textures from."),
        *_figure_options("figure-style"),
    ]


@figure.command("style", cls=Command, parameters=_style_parameters)
def figure_style(painting: Path, **entries: Any) -> None:
    """Figure 1, style: textures from conv1_1, from conv1_1 and conv2_1, ..., up to conv5_1."""
    from npstyle.run.figures import style_figure
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import read_given

    settings = with_preset({"size": 256} | read_given(Settings, entries))
    _draw(style_figure(painting, settings), entries)


def _grid_parameters() -> list[click.Parameter]:
    from npstyle.run.figures import RATIOS

    return [
        argument("photo", "The photo."),
        argument("painting", "The painting."),
        option(
            "--ratios",
            "alpha/beta of the columns.",
            shown=" ".join(f"{ratio:g}" for ratio in RATIOS),
            metavar="NUMBER...",
            multiple=True,
        ),
        *_figure_options("figure-grid", "init"),
    ]


@figure.command("grid", cls=Command, parameters=_grid_parameters)
def figure_grid(photo: Path, painting: Path, ratios: tuple[str, ...], **entries: Any) -> None:
    """Figure 3: more style layers from top to bottom, more content from left to right."""
    from npstyle.run.figures import RATIOS, grid_figure
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.table import parse_numbers, read_given

    settings = with_preset({"size": 256} | read_given(Settings, entries))
    columns = parse_numbers("--ratios", ratios) or RATIOS
    _draw(grid_figure(photo, painting, settings, columns), entries)


def _draw(cells: "list[list[Cell]]", entries: dict[str, Any]) -> None:
    """Run the missing cells of a figure and assemble its sheet.

    Parameters
    ----------
    cells : rows of cells
    entries : dict
        The command's options: `output` is a folder, `network` a name.
    """
    from npstyle.cli import console
    from npstyle.cli.loops import load_loops
    from npstyle.files import check_folder
    from npstyle.networks.network import load_network
    from npstyle.run.figures import SHEETS, check_figure, contact_sheet, save_sheet
    from npstyle.run.machine import Machine
    from npstyle.run.strategy import choose_device
    from npstyle.run.table import read_given

    folder: Path = entries["output"]
    quiet = bool(entries["quiet"])
    machine = Machine(**read_given(Machine, entries))
    flat = [cell for row in cells for cell in row]
    network = load_network(entries["network"])
    _check_cells(flat, network)
    check_folder(folder, "the figure")
    check_figure(flat, folder)
    device = choose_device(machine)
    folder.mkdir(exist_ok=True)
    if not quiet:
        console.print_device(device)
    load_loops(device, quiet)
    _run_cells(flat, folder, network, replace(machine, device=str(device)), quiet)
    sheet = contact_sheet(cells, folder)
    for name in SHEETS:
        save_sheet(sheet, folder / name)
    if not quiet:
        print(f"wrote {', '.join(str(folder / name) for name in SHEETS)}")


def _run_cells(
    cells: "list[Cell]", folder: Path, network: Any, machine: "Machine", quiet: bool
) -> None:
    """Make the pictures that are missing; Ctrl-C and the signals like it end the command."""
    from npstyle.engine.interrupts import ending_signals
    from npstyle.run.figures import run_cell
    from npstyle.run.progress import ProgressDisplay

    for k, cell in enumerate(cells, start=1):
        display = ProgressDisplay(sum(cell.settings.scale_steps()), quiet)
        if not quiet:
            print(f"{k}/{len(cells)}  {cell.name}", flush=True)
        display.start()
        with ending_signals() as received:
            try:
                with display:
                    made = run_cell(cell, folder, network, machine, display.update)
            except KeyboardInterrupt:
                text = f"npstyle: interrupted; the same command resumes at {cell.name}"
                print(text, file=sys.stderr)
                raise Exit(128 + received[-1]) from None
        if not (made or quiet):
            print("        already exists", flush=True)


def _check_cells(cells: "list[Cell]", network: Any) -> None:
    """Check the input of every cell before the first one is run."""
    from npstyle.run.pictures import check_pictures
    from npstyle.run.plan import checked_sizes

    for cell in cells:
        sizes = check_pictures(cell.pictures, cell.settings)
        checked_sizes(network, cell.settings, *sizes)
