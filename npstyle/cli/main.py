"""The command line: reads the options, calls one function, prints what came of it.

Heavy modules are imported inside the commands, so that `npstyle --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from npstyle.cli import batch as cli_batch
from npstyle.cli import console
from npstyle.cli import lab as cli_lab
from npstyle.cli import paper as cli_paper
from npstyle.cli import transfer as cli_transfer
from npstyle.cli import weights as cli_weights
from npstyle.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Neural style transfer from scratch on NumPy: every derivative written by hand.

    [bold]npstyle demo[/bold] shows the whole thing on pictures drawn by formula.

    [bold]npstyle transfer photo.jpg painting.jpg -o out.png[/bold] is the main job.

    [bold]npstyle weights fetch vgg19[/bold] downloads the network of the paper, once.""",
)
app.add_typer(cli_weights.app, name="weights")
app.command()(cli_transfer.transfer)
app.command()(cli_batch.batch)
app.command()(cli_paper.reconstruct)
app.command()(cli_paper.texture)
app.add_typer(cli_paper.figure, name="figure")
app.command()(cli_lab.gradcheck)
app.command()(cli_lab.explain)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from npstyle.version import __version__

        print(f"npstyle {__version__}")
        raise typer.Exit


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
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Draw a landscape and a painting by formula, and render one in the style of the other."""
    from npstyle.cli.run import run_and_save
    from npstyle.images.formula import draw_painting, draw_photo
    from npstyle.images.write import save_image
    from npstyle.run.pictures import Pictures
    from npstyle.run.settings import Settings

    settings = Settings(size=size, iterations=iterations)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    photo, painting = folder / "photo.png", folder / "painting.png"
    save_image(photo, draw_photo(max(1, size * 3 // 4), size))
    save_image(painting, draw_painting(max(1, size * 3 // 4), size))
    pictures = Pictures(photo, (painting,))
    run_and_save(pictures, folder / "styled.png", network, settings, device=device, quiet=quiet)


@app.command()
def info(picture: Annotated[Path, typer.Argument(help="A picture that npstyle wrote.")]) -> None:
    """Print the settings and the final loss that a picture was made with."""
    from npstyle.images.read import read_settings

    console.print_table(read_settings(picture))


LISTS = ("--style", "--blend", "--content-mask", "--style-mask", "--ratios")
"""Options that take all values up to the next option."""


def spread_lists(arguments: list[str]) -> list[str]:
    """Write `--style a b` as `--style a --style b`, which is what Click understands."""
    spread: list[str] = []
    option = ""
    first = False
    for argument in arguments:
        if argument.startswith("-") and len(argument) > 1:
            option, first = (argument, True) if argument in LISTS else ("", False)
        elif option and not first:
            spread.append(option)
        else:
            first = False
        spread.append(argument)
    return spread


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2."""
    try:
        app(args=spread_lists(sys.argv[1:]))
    except InputError as error:
        print(f"npstyle: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
