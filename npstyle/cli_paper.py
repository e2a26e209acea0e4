"""The paper's experiments: `npstyle reconstruct` and `npstyle texture`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npstyle import cli_options as options

if TYPE_CHECKING:
    from npstyle.presets import Settings


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
    dtype: options.Dtype = options.DtypeChoice.float32,
    exact: options.Exact = False,
    quiet: options.Quiet = False,
) -> None:
    """Reconstruct a photo from one layer's activations: Figure 1 of the paper, content.

    Shallow layers (conv1_2) give the photo back almost perfectly; deep ones (conv5_2) know what is
    in it and where, and no longer the pixels.

    [bold]npstyle reconstruct town.jpg --layer conv4_2 -o town-conv4_2.png[/bold]
    """
    from npstyle.cli_run import run_and_save
    from npstyle.experiments import reconstruction

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
    )
    pictures, settings = reconstruction(photo, layer, settings)
    output = output or Path(f"{photo.stem}-{layer}.png")
    run_and_save(pictures, output, network, settings, threads=threads, quiet=quiet)


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
    dtype: options.Dtype = options.DtypeChoice.float32,
    exact: options.Exact = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a texture of any size after a painting: Figure 1 of the paper, style.

    With conv1_1 alone it has the painting's colours and grain; every deeper layer adds larger
    shapes, up to whole strokes.

    [bold]npstyle texture starry_night.jpg --layers conv1_1,conv2_1 --size 320x200[/bold]
    """
    from npstyle.cli_run import run_and_save
    from npstyle.experiments import parse_size
    from npstyle.experiments import texture as prepare
    from npstyle.presets import STYLE_LAYERS, parse_layers

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
    )
    chosen = parse_layers("--layers", layers or STYLE_LAYERS, share=False)
    pictures, settings = prepare(painting, chosen, parse_size(size), settings)
    output = output or Path(f"{painting.stem}-texture.png")
    run_and_save(pictures, output, network, settings, threads=threads, quiet=quiet)


def _settings(**given: Any) -> "Settings":
    """The preset `gatys` with what was given on the command line."""
    from npstyle.presets import PRESETS

    plain = {name: getattr(value, "value", value) for name, value in given.items()}
    chosen = {name: value for name, value in plain.items() if value is not None}
    return replace(PRESETS["gatys"], **chosen)
