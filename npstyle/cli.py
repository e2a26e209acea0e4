"""The command line: reads the options, calls one function, prints what came of it.

Heavy modules are imported inside the commands, so that `npstyle --help` answers at once.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from npstyle import cli_lab, console
from npstyle.errors import InputError

if TYPE_CHECKING:
    from npstyle.optimizers import Progress
    from npstyle.presets import Settings
    from npstyle.style_transfer import Plan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Neural style transfer from scratch on NumPy: every derivative written by hand.

    [bold]npstyle demo[/bold] shows the whole thing on pictures drawn by formula.

    [bold]npstyle transfer photo.jpg painting.jpg -o out.png[/bold] is the main job.""",
)
weights_app = typer.Typer(no_args_is_help=True, help="Convert and inspect files of weights.")
app.add_typer(weights_app, name="weights")
app.command()(cli_lab.gradcheck)
app.command()(cli_lab.explain)

LOOK, LOSS, SEARCH, MACHINE = "The picture", "The losses", "The search", "The machine"


class Preset(StrEnum):
    """Names of the presets."""

    gatys = "gatys"
    paper = "paper"
    neural_style = "neural-style"


class PoolingChoice(StrEnum):
    """Ways of pooling."""

    avg = "avg"
    max = "max"


class OptimizerChoice(StrEnum):
    """Optimisers."""

    lbfgs = "lbfgs"
    adam = "adam"


class DtypeChoice(StrEnum):
    """Precisions of the engine."""

    float32 = "float32"
    float64 = "float64"


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from npstyle.version import __version__

        print(f"npstyle {__version__}")
        raise typer.Exit


@app.command()
def transfer(
    photo: Annotated[Path, typer.Argument(help="The photo: what is shown.")],
    painting: Annotated[Path, typer.Argument(help="The painting: how it is shown.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write: .png, .jpg, .webp or .tif (16 bit). "
            "[dim]Default: PHOTO-PAINTING.png, here.[/dim]",
            rich_help_panel=LOOK,
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="A file of weights, or a name found in weights/ or the user's data directory. "
            "[dim]Default: vgg19 where installed, else the built-in network.[/dim]",
            rich_help_panel=LOOK,
        ),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="Whose numbers to use: gatys (the authors' code: content 1, style 1e3, average "
            "pooling, 300 steps), paper (the literal sums: alpha 1, beta 1e3, from noise, 500 "
            "steps), neural-style (jcjohnson's: content 5, style 100, TV, max pooling, from "
            "noise, 1000 steps). Every option below overrides its number.",
            rich_help_panel=LOOK,
        ),
    ] = Preset.gatys,
    size: Annotated[
        int, typer.Option(help="Longest side of the result, in pixels.", rich_help_panel=LOOK)
    ] = 512,
    style_scale: Annotated[
        float,
        typer.Option(
            help="Longest side of the painting, as a multiple of --size: "
            "smaller gives finer brushwork, larger gives coarser.",
            rich_help_panel=LOOK,
        ),
    ] = 1.0,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="content|noise|style|FILE",
            help="The picture to start from.",
            rich_help_panel=LOOK,
        ),
    ] = None,
    pooling: Annotated[
        PoolingChoice | None,
        typer.Option(help="How the network pools.", rich_help_panel=LOSS),
    ] = None,
    content_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER[:WEIGHT],...",
            help="Where the content is compared, such as conv4_2:1.0. Deeper layers keep less of "
            "the photo's detail.",
            rich_help_panel=LOSS,
        ),
    ] = None,
    style_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER[:WEIGHT],...",
            help="Where the style is compared, such as conv1_1,conv2_1:0.5. Deeper layers hold "
            "larger strokes.",
            rich_help_panel=LOSS,
        ),
    ] = None,
    content_weight: Annotated[
        float | None, typer.Option(help="How much the photo counts.", rich_help_panel=LOSS)
    ] = None,
    style_weight: Annotated[
        float | None, typer.Option(help="How much the painting counts.", rich_help_panel=LOSS)
    ] = None,
    tv_weight: Annotated[
        float | None,
        typer.Option(help="How much smoothness counts (total variation).", rich_help_panel=LOSS),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Steps of the optimiser.", rich_help_panel=SEARCH)
    ] = None,
    optimizer: Annotated[
        OptimizerChoice,
        typer.Option(
            help="lbfgs converges fastest; adam needs a quarter of its memory.",
            rich_help_panel=SEARCH,
        ),
    ] = OptimizerChoice.lbfgs,
    seed: Annotated[int, typer.Option(help="Seed of the noise.", rich_help_panel=SEARCH)] = 0,
    save_every: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Write the best picture so far to the output every K steps; 0: only at the end.",
            rich_help_panel=SEARCH,
        ),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Worker threads. [dim]Default: one per physical core.[/dim]",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    dtype: Annotated[
        DtypeChoice, typer.Option(help="Precision of the engine.", rich_help_panel=MACHINE)
    ] = DtypeChoice.float32,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Plain sums also in float32: no Winograd convolution. Slower; the losses differ "
            "by rounding.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=MACHINE)
    ] = False,
) -> None:
    """Render a photo in the style of a painting.

    The picture moves step by step so that a convolutional network sees the photo's content and
    the painting's style in it. Ctrl-C ends the search early and keeps the best picture so far.

    [bold]npstyle transfer town.jpg starry_night.jpg -o out.png[/bold]

    More paint: [bold]npstyle transfer town.jpg starry_night.jpg --style-weight 1e4[/bold]

    From noise: [bold]npstyle transfer town.jpg starry_night.jpg --init noise --seed 3[/bold]
    """
    from dataclasses import replace

    from npstyle.presets import PRESETS, parse_layers

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
    }
    settings = replace(
        base,
        size=size,
        style_scale=style_scale,
        optimizer=optimizer.value,
        seed=seed,
        dtype=dtype.value,
        exact=exact,
        **{option: value for option, value in given.items() if value is not None},
    )
    output = output or Path(f"{photo.stem}-{painting.stem}.png")
    _run_transfer(photo, painting, output, network, settings, threads, save_every, quiet)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the three pictures; made if it is not there.")
    ] = Path("npstyle-demo"),
    size: Annotated[int, typer.Option(help="Longest side, in pixels.")] = 256,
    iterations: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 100,
    network: Annotated[
        str | None, typer.Option(help="A file of weights or a name, as for `transfer`.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Draw a landscape and a painting by formula, and render one in the style of the other."""
    from npstyle.demo import draw_painting, draw_photo
    from npstyle.image import save_image
    from npstyle.presets import Settings

    settings = Settings(size=size, iterations=iterations)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    photo, painting = folder / "photo.png", folder / "painting.png"
    save_image(photo, draw_photo(max(1, size * 3 // 4), size))
    save_image(painting, draw_painting(max(1, size * 3 // 4), size))
    _run_transfer(photo, painting, folder / "styled.png", network, settings, None, 0, quiet)


@app.command()
def info(picture: Annotated[Path, typer.Argument(help="A picture that npstyle wrote.")]) -> None:
    """Print the settings and the final loss that a picture was made with."""
    from npstyle.image import read_settings

    console.print_table(read_settings(picture))


@weights_app.command("convert")
def weights_convert(
    source: Annotated[Path, typer.Argument(help="Keras' published VGG-19 or VGG-16 file (.h5).")],
    destination: Annotated[Path, typer.Argument(help="The file to write (.npz).")],
) -> None:
    """Convert published weights to npstyle's format.

    [bold]npstyle weights convert vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5
    weights/vgg19.npz[/bold]
    """
    from npstyle.convert import convert

    weights = convert(source, destination)
    print(f"{destination}: {weights.name}, {len(weights.tensors) // 2} convolutions")


@weights_app.command("info")
def weights_info(
    file: Annotated[str, typer.Argument(help="A file of weights, or a name as for --network.")],
) -> None:
    """Print the layers, shapes, source, licence and hash of a file of weights."""
    from npstyle.weights import find_weights, load_weights

    path = find_weights(file)
    console.print_weights(load_weights(path), path)


def _run_transfer(
    photo: Path,
    painting: Path,
    output: Path,
    network: str | None,
    settings: "Settings",
    threads: int | None,
    save_every: int,
    quiet: bool,
) -> None:
    """Run `npstyle.transfer` with progress and signals, and write the picture."""
    from npstyle.image import check_output, save_image
    from npstyle.style_transfer import transfer as run

    check_output(output)
    display = console.ProgressDisplay(settings.iterations, quiet)

    def announce(plan: "Plan") -> None:
        if not quiet:
            console.print_plan(plan, network, output)
        display.start()

    def on_iteration(progress: "Progress") -> None:
        display.update(progress)
        if save_every and progress.iteration % save_every == 0:
            save_image(output, progress.best_image)

    with _sigterm_interrupts() as received:
        try:
            with display:
                done = run(
                    photo,
                    painting,
                    network,
                    settings,
                    threads=threads,
                    announce=announce,
                    callback=on_iteration,
                )
        except KeyboardInterrupt:
            _fail("interrupted before there was a picture to keep", 128 + received[-1])
    result = done.result
    if not result.parts:
        _fail(f"{result.stopped} at the first evaluation: no picture was written", 1)
    save_image(output, result.image, done.record)
    if not quiet:
        console.print_result(result, output)
    if result.stopped == "interrupted":
        raise typer.Exit(128 + received[-1])
    if result.stopped == "not finite":
        _fail(f"the loss became infinite or NaN; the best picture before that is {output}", 1)


@contextmanager
def _sigterm_interrupts() -> Iterator[list[int]]:
    """Let SIGTERM end the search as Ctrl-C does; yields a list whose last item is the signal."""
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"npstyle: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"npstyle: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
