"""The paper's experiments: `npstyle reconstruct`, `npstyle texture` and `npstyle figure`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npstyle.cli import console, options
from npstyle.errors import InputError

if TYPE_CHECKING:
    from npstyle.run.figures import Cell
    from npstyle.run.settings import Settings


def reconstruct(
    photo: Annotated[Path, typer.Argument(help="The photo to reconstruct.")],
    layer: Annotated[
        str, typer.Option(help="The layer whose activations are all that is known of the photo.")
    ] = "conv4_2",
    output: options.Output = None,
    network: options.NetworkName = None,
    size: options.Size = 256,
    init: Annotated[
        str,
        typer.Option(
            metavar="noise|FILE",
            help="The picture to start from.",
            rich_help_panel=options.LOOK,
        ),
    ] = "noise",
    pooling: options.Pooling = None,
    tv_weight: options.TvWeight = None,
    iterations: options.Iterations = None,
    optimizer: options.Optimizer = options.OptimizerChoice.lbfgs,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    device: options.Device = "auto",
    precision: options.Precision = options.PrecisionChoice.float32,
    dtype: options.Dtype = options.DtypeChoice.float32,
    exact: options.Exact = False,
    quiet: options.Quiet = False,
) -> None:
    """Reconstruct a photo from one layer's activations: Figure 1 of the paper, content.

    Shallow layers (conv1_2) give the photo back almost perfectly; deep ones (conv5_2) know what is
    in it and where, and no longer the pixels.

    [bold]npstyle reconstruct town.jpg --layer conv4_2 -o town-conv4_2.png[/bold]
    """
    from npstyle.cli.run import run_and_save
    from npstyle.run.experiments import reconstruction

    settings = _settings(
        size=size,
        init=init,
        pooling=pooling,
        tv_weight=tv_weight,
        iterations=iterations,
        optimizer=optimizer,
        seed=seed,
        dtype=dtype,
        exact=exact,
        precision=precision,
    )
    pictures, settings = reconstruction(photo, layer, settings)
    output = output or Path(f"{photo.stem}-{layer}.png")
    run_and_save(pictures, output, network, settings, threads=threads, device=device, quiet=quiet)


def texture(
    painting: Annotated[Path, typer.Argument(help="The painting to take the texture from.")],
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER[:WEIGHT],...",
            help="The layers whose Gram matrices are all that is known of the painting. "
            "[dim]Default: conv1_1,conv2_1,conv3_1,conv4_1,conv5_1.[/dim]",
        ),
    ] = None,
    output: options.Output = None,
    network: options.NetworkName = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="SIDE|WIDTHxHEIGHT",
            help="Size of the texture, in pixels.",
            rich_help_panel=options.LOOK,
        ),
    ] = "256",
    style_scale: Annotated[
        float,
        typer.Option(
            help="Longest side of the painting, as a multiple of the texture's.",
            rich_help_panel=options.LOOK,
        ),
    ] = 1.0,
    init: Annotated[
        str,
        typer.Option(
            metavar="noise|style-stats|FILE",
            help="The picture to start from; style-stats is noise in the painting's colours.",
            rich_help_panel=options.LOOK,
        ),
    ] = "noise",
    pooling: options.Pooling = None,
    tv_weight: options.TvWeight = None,
    iterations: options.Iterations = None,
    optimizer: options.Optimizer = options.OptimizerChoice.lbfgs,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    device: options.Device = "auto",
    precision: options.Precision = options.PrecisionChoice.float32,
    dtype: options.Dtype = options.DtypeChoice.float32,
    exact: options.Exact = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a texture of any size after a painting: Figure 1 of the paper, style.

    With conv1_1 alone it has the painting's colours and grain; every deeper layer adds larger
    shapes, up to whole strokes.

    [bold]npstyle texture starry_night.jpg --layers conv1_1,conv2_1 --size 320x200[/bold]
    """
    from npstyle.cli.run import run_and_save
    from npstyle.run.experiments import parse_size
    from npstyle.run.experiments import texture as prepare
    from npstyle.run.settings import STYLE_LAYERS, parse_layers

    settings = _settings(
        style_scale=style_scale,
        init=init,
        pooling=pooling,
        tv_weight=tv_weight,
        iterations=iterations,
        optimizer=optimizer,
        seed=seed,
        dtype=dtype,
        exact=exact,
        precision=precision,
    )
    chosen = parse_layers("--layers", layers or STYLE_LAYERS, share=False)
    pictures, settings = prepare(painting, chosen, parse_size(size), settings)
    output = output or Path(f"{painting.stem}-texture.png")
    run_and_save(pictures, output, network, settings, threads=threads, device=device, quiet=quiet)


def _settings(**given: Any) -> "Settings":
    """The preset `gatys` with what was given on the command line."""
    from npstyle.run.settings import PRESETS

    plain = {name: getattr(value, "value", value) for name, value in given.items()}
    chosen = {name: value for name, value in plain.items() if value is not None}
    return replace(PRESETS["gatys"], **chosen)


figure = typer.Typer(
    no_args_is_help=True,
    help="The paper's figures as one labelled sheet, with the single pictures beside it. "
    "An interrupted figure goes on where it stopped.",
)
Folder = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder for the pictures and the sheet (PNG and PDF)."),
]


@figure.command("content")
def figure_content(
    photo: Annotated[Path, typer.Argument(help="The photo to reconstruct.")],
    output: Folder = Path("figure-content"),
    network: options.NetworkName = None,
    size: options.Size = 256,
    iterations: options.Iterations = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    device: options.Device = "auto",
    cluster: options.Cluster = None,
    precision: options.Precision = options.PrecisionChoice.float32,
    quiet: options.Quiet = False,
) -> None:
    """Figure 1, content: a photo from conv1_2, conv2_2, conv3_2, conv4_2, conv5_2, each alone."""
    from npstyle.run.figures import content_figure

    settings = _settings(size=size, iterations=iterations, seed=seed, precision=precision)
    _draw(content_figure(photo, settings), output, network, threads, device, cluster, quiet)


@figure.command("style")
def figure_style(
    painting: Annotated[Path, typer.Argument(help="The painting to make textures after.")],
    output: Folder = Path("figure-style"),
    network: options.NetworkName = None,
    size: options.Size = 256,
    iterations: options.Iterations = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    device: options.Device = "auto",
    cluster: options.Cluster = None,
    precision: options.Precision = options.PrecisionChoice.float32,
    quiet: options.Quiet = False,
) -> None:
    """Figure 1, style: textures from conv1_1; and conv2_1; ...; up to conv5_1."""
    from npstyle.run.figures import style_figure

    settings = _settings(size=size, iterations=iterations, seed=seed, precision=precision)
    _draw(style_figure(painting, settings), output, network, threads, device, cluster, quiet)


@figure.command("grid")
def figure_grid(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    painting: Annotated[Path, typer.Argument(help="The painting.")],
    output: Folder = Path("figure-grid"),
    ratios: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER...",
            help="alpha/beta of the columns. [dim]Default: 1e-5 1e-4 1e-3 1e-2.[/dim]",
        ),
    ] = None,
    network: options.NetworkName = None,
    size: options.Size = 256,
    iterations: options.Iterations = None,
    init: Annotated[
        str, typer.Option(metavar="content|noise|style|style-stats|FILE", help="Where to start.")
    ] = "content",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    device: options.Device = "auto",
    cluster: options.Cluster = None,
    precision: options.Precision = options.PrecisionChoice.float32,
    quiet: options.Quiet = False,
) -> None:
    """Figure 3: more style layers downwards, more content to the right."""
    from npstyle.run.figures import RATIOS, grid_figure
    from npstyle.run.settings import parse_numbers

    settings = _settings(
        size=size, iterations=iterations, seed=seed, init=init, precision=precision
    )
    columns = parse_numbers("--ratios", ratios or ()) or RATIOS
    _draw(
        grid_figure(photo, painting, settings, columns),
        output,
        network,
        threads,
        device,
        cluster,
        quiet,
    )


def _draw(
    cells: "list[list[Cell]]",
    folder: Path,
    name: str | None,
    threads: int | None,
    device: str,
    cluster: str | None,
    quiet: bool,
) -> None:
    """Run what is missing of a figure, and put it together."""
    from npstyle.networks.network import load_network
    from npstyle.run.figures import contact_sheet, run_cell, save_sheet
    from npstyle.run.pictures import check_pictures
    from npstyle.run.strategy import choose_device, parse_limits

    limits = parse_limits(cluster=cluster)
    flat = [cell for row in cells for cell in row]
    network = load_network(name)
    for cell in flat:  # what is wrong is told before the first hour's work
        check_pictures(cell.pictures, cell.settings)
        for layer in (*cell.settings.content_layers, *cell.settings.style_layers):
            network.depth(layer)
    if folder.is_file() or not folder.absolute().parent.is_dir():
        raise InputError(f"{folder}: no folder can be made there; name another")
    place = choose_device(device, limits)
    folder.mkdir(exist_ok=True)
    if not quiet:
        console.print_device(place)
    for k, cell in enumerate(flat, start=1):
        display = console.ProgressDisplay(sum(cell.settings.scale_steps()), quiet)
        if not quiet:
            print(f"{k}/{len(flat)}  {cell.name}", flush=True)
        display.start()
        try:
            with display:
                made = run_cell(cell, folder, network, threads, str(place), limits, display.update)
        except KeyboardInterrupt:
            print(f"npstyle: interrupted; the same command goes on at {cell.name}", file=sys.stderr)
            raise typer.Exit(130) from None
        if not (made or quiet):
            print("        is there already", flush=True)
    sheet = contact_sheet(cells, folder)
    for suffix in (".png", ".pdf"):
        save_sheet(sheet, folder / f"sheet{suffix}")
    if not quiet:
        print(f"wrote {folder / 'sheet.png'}, {folder / 'sheet.pdf'}")
