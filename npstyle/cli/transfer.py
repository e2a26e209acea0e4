"""The main command: `npstyle transfer`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from npstyle.cli import options
from npstyle.errors import InputError


class Preset(StrEnum):
    """Names of the presets."""

    gatys = "gatys"
    paper = "paper"
    neural_style = "neural-style"


class ColorChoice(StrEnum):
    """Whose colours the result has."""

    painting = "painting"
    luminance = "luminance"
    histogram = "histogram"


class EdgesChoice(StrEnum):
    """What the first layer sees beyond the picture."""

    zero = "zero"
    replicate = "replicate"


def transfer(
    photo: Annotated[Path, typer.Argument(help="The photo: what is shown.")],
    paintings: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PAINTING...", help="The painting, or several: how it is shown."),
    ] = None,
    output: options.Output = None,
    network: options.NetworkName = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="Whose numbers to use: gatys (the authors' code: content 1, style 1e3, average "
            "pooling, 300 steps), paper (the literal sums: alpha 1, beta 1e3, from noise, 500 "
            "steps), neural-style (jcjohnson's: content 5, style 100, TV, max pooling, from "
            "noise, 1000 steps). Every option below overrides its number.",
            rich_help_panel=options.LOOK,
        ),
    ] = Preset.gatys,
    size: Annotated[
        int | None,
        typer.Option(
            help="Longest side of the result, in pixels. [dim]Default: 512.[/dim]",
            rich_help_panel=options.LOOK,
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="auto|SIZE,...",
            help="Coarse to fine: longest sides such as 256,512,1024, each starting from the "
            "enlarged result before it; auto: a factor of sqrt(2) apart, up to --size. "
            "[dim]Default: auto above 512, else --size alone.[/dim]",
            rich_help_panel=options.LOOK,
        ),
    ] = None,
    style_scale: Annotated[
        float,
        typer.Option(
            help="Longest side of the painting, as a multiple of --size: "
            "smaller gives finer brushwork, larger gives coarser.",
            rich_help_panel=options.LOOK,
        ),
    ] = 1.0,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="content|noise|style|style-stats|FILE",
            help="The picture to start from; style-stats is noise in the painting's colours.",
            rich_help_panel=options.LOOK,
        ),
    ] = None,
    style: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE...",
            help="The paintings, if you would rather name them by an option.",
            rich_help_panel=options.STYLE,
        ),
    ] = None,
    blend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER...",
            help="What each of several paintings counts, such as --blend 3 7. "
            "[dim]Default: alike.[/dim]",
            rich_help_panel=options.STYLE,
        ),
    ] = None,
    content_mask: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE...",
            help="For each painting a picture that is bright where the photo takes its style.",
            rich_help_panel=options.STYLE,
        ),
    ] = None,
    style_mask: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE...",
            help="For each painting a picture that is bright where its style is taken from.",
            rich_help_panel=options.STYLE,
        ),
    ] = None,
    color: Annotated[
        ColorChoice,
        typer.Option(
            help="Whose colours the result has: the painting's; the photo's, by transferring "
            "luminance only; the photo's, by giving the painting its mean and covariance first.",
            rich_help_panel=options.STYLE,
        ),
    ] = ColorChoice.painting,
    pooling: options.Pooling = None,
    padding: Annotated[
        EdgesChoice,
        typer.Option(
            help="What the first layer sees beyond the picture: zeros, or the pixels of the edge.",
            rich_help_panel=options.LOSS,
        ),
    ] = EdgesChoice.zero,
    content_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER[:WEIGHT],...",
            help="Where the content is compared, such as conv4_2:1.0. Deeper layers keep less of "
            "the photo's detail.",
            rich_help_panel=options.LOSS,
        ),
    ] = None,
    style_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER[:WEIGHT],...",
            help="Where the style is compared, such as conv1_1,conv2_1:0.5. Deeper layers hold "
            "larger strokes.",
            rich_help_panel=options.LOSS,
        ),
    ] = None,
    content_weight: Annotated[
        float | None, typer.Option(help="How much the photo counts.", rich_help_panel=options.LOSS)
    ] = None,
    style_weight: Annotated[
        float | None,
        typer.Option(help="How much the painting counts.", rich_help_panel=options.LOSS),
    ] = None,
    tv_weight: options.TvWeight = None,
    iterations: options.Iterations = None,
    optimizer: options.Optimizer = options.OptimizerChoice.lbfgs,
    adam_step: Annotated[
        float | None,
        typer.Option(
            help="About how far adam moves a pixel in a step, in 0..255. [dim]Default: 5.[/dim]",
            rich_help_panel=options.SEARCH,
        ),
    ] = None,
    seed: options.Seed = 0,
    save_every: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Write the best picture so far to the output (and the checkpoint) every K steps; "
            "0: only at the end (the checkpoint every 10).",
            rich_help_panel=options.RECORD,
        ),
    ] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Keep what is needed to go on later.",
            rich_help_panel=options.RECORD,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Go on from a checkpoint of the same run.",
            rich_help_panel=options.RECORD,
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Save numbered pictures.", rich_help_panel=options.RECORD
        ),
    ] = None,
    gif: Annotated[
        Path | None,
        typer.Option(metavar="FILE.gif", help="Save an animation.", rich_help_panel=options.RECORD),
    ] = None,
    frames_every: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Steps between two frames. [dim]Default: about 50 frames.[/dim]",
            rich_help_panel=options.RECORD,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Write the loss terms, one line per step.",
            rich_help_panel=options.RECORD,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw the loss terms (.png, .pdf, .svg; extra `plots`).",
            rich_help_panel=options.RECORD,
        ),
    ] = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    precision: options.Precision = options.PrecisionChoice.float32,
    tile: options.Tile = "auto",
    memory: options.Memory = None,
    scratch: options.Scratch = None,
    cluster: options.Cluster = None,
    dtype: options.Dtype = options.DtypeChoice.float32,
    exact: options.Exact = False,
    quiet: options.Quiet = False,
) -> None:
    """Render a photo in the style of a painting, or of several.

    The picture moves step by step so that a convolutional network sees the photo's content and
    the painting's style in it. Ctrl-C ends the search early and keeps the best picture so far.

    [bold]npstyle transfer town.jpg starry_night.jpg -o out.png[/bold]

    More paint: [bold]npstyle transfer town.jpg starry_night.jpg --style-weight 1e4[/bold]

    From noise: [bold]npstyle transfer town.jpg starry_night.jpg --init noise --seed 3[/bold]

    Two paintings: [bold]npstyle transfer town.jpg night.jpg scream.jpg --blend 3 7[/bold]

    One for the sky: [bold]npstyle transfer a.jpg b.jpg c.jpg --content-mask sky.png land.png[/bold]
    """
    from dataclasses import replace

    from npstyle.cli.run import run_and_save
    from npstyle.run.pictures import Pictures
    from npstyle.run.recording import FRAMES, Recording
    from npstyle.run.settings import PRESETS, parse_layers, parse_numbers, parse_scales
    from npstyle.run.strategy import parse_limits

    if adam_step is not None and optimizer != "adam":
        raise InputError("--adam-step: is for --optimizer adam; lbfgs finds its own steps")
    if frames_every is not None and frames is None and gif is None:
        raise InputError("--frames-every: goes with --frames or --gif; name one of them")
    base = PRESETS[preset.value]
    share = base.scaling == "sums"
    given: dict[str, Any] = {
        "init": init,
        "pooling": pooling and pooling.value,
        "content_layers": content_layers
        and parse_layers("--content-layers", content_layers, share),
        "style_layers": style_layers and parse_layers("--style-layers", style_layers, share),
        "content_weight": content_weight,
        "style_weight": style_weight,
        "tv_weight": tv_weight,
        "iterations": iterations,
        "adam_step": adam_step,
        "size": size,
        **parse_scales(scales, size),
    }
    settings = replace(
        base,
        style_scale=style_scale,
        blend=parse_numbers("--blend", blend or ()),
        color=color.value,
        padding=padding.value,
        optimizer=optimizer.value,
        seed=seed,
        dtype=dtype.value,
        exact=exact,
        precision=precision.value,
        **{option: value for option, value in given.items() if value is not None},
    )
    named = (*(paintings or ()), *(style or ()))
    pictures = Pictures(photo, named, tuple(content_mask or ()), tuple(style_mask or ()))
    default = "-".join(picture.stem for picture in (photo, *named)) + ".png"
    steps = sum(settings.scale_steps())
    run_and_save(
        pictures,
        output or Path(default),
        network,
        settings,
        threads=threads,
        device=device,
        limits=parse_limits(tile, memory, scratch, cluster),
        save_every=save_every,
        checkpoint=checkpoint,
        resume=resume,
        recording=Recording(
            frames_every or max(1, steps // FRAMES), frames=frames, gif=gif, log=log, plot=plot
        ),
        quiet=quiet,
    )
