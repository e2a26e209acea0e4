"""The command line: each command reads its options, calls one function and prints the result.

Heavy modules are imported inside the commands, so that `npstyle --help` answers at once.
"""

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import rich_click as click

from npstyle.cli.atlas import atlas
from npstyle.cli.batch import batch
from npstyle.cli.lab import explain, gradcheck
from npstyle.cli.options import HELP, Command, argument, network, options
from npstyle.cli.paper import figure, reconstruct, texture
from npstyle.cli.streams import lasting_streams
from npstyle.cli.stylize import stylize
from npstyle.cli.train import train
from npstyle.cli.transfer import transfer
from npstyle.cli.weights import weights
from npstyle.engine.interrupts import ending_signals
from npstyle.errors import InputError, print_warnings_in_one_line


@click.group(context_settings={"rich_help_config": HELP})
@click.version_option(package_name="npstyle", prog_name="npstyle", message="%(prog)s %(version)s")
def app() -> None:
    """Neural style transfer from scratch on NumPy: every derivative written by hand.

    [bold]npstyle demo[/bold] shows the whole method on pictures drawn by formula.

    [bold]npstyle transfer photo.jpg painting.jpg -o out.png[/bold] is the main command.

    [bold]npstyle weights fetch vgg19[/bold] downloads the network of the paper, once.
    """


MENDS = {
    errno.ENAMETOOLONG: "no file can have this name ({}); give a shorter one",
    errno.EACCES: "may not be read ({}); change its permissions, or those of its folder",
}
"""What is said about a file that the system refuses, by the kind of the refusal."""

DEMO = {"size": 256, "iterations": 100}
"""Settings of `npstyle demo` that differ from the preset's."""


DRAWN = ("photo", "painting")
"""Names of the pictures that the demo draws."""

DEMO_RECORD = {"drawn": "by npstyle demo"}
"""What these pictures record."""


def _demo_parameters() -> list[click.Parameter]:
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings

    return [
        argument(
            "folder",
            "Folder for the three pictures; it is created if it does not exist. "
            "Default: npstyle-demo.",
            default=Path("npstyle-demo"),
        ),
        network(),
        *options(Settings, *DEMO, defaults=DEMO),
        *options(Machine, "device"),
        *options(Outputs, "quiet"),
    ]


@app.command(cls=Command, parameters=_demo_parameters)
def demo(folder: Path, network: str | None, **entries: Any) -> None:
    """Draw a landscape and a painting by formula, and render one in the style of the other.

    The landscape is also painted in one pass, in the styles that come with the package.
    """
    from npstyle.cli.run import run_and_save
    from npstyle.files import make_folder
    from npstyle.images.formula import draw_painting, draw_photo
    from npstyle.images.write import save_image
    from npstyle.networks.network import load_network
    from npstyle.onepass.styles import TRAINED_STYLES
    from npstyle.run.machine import Machine
    from npstyle.run.pictures import Pictures
    from npstyle.run.plan import checked_sizes
    from npstyle.run.recording import Outputs
    from npstyle.run.settings import Settings, with_preset
    from npstyle.run.stylize import StyleSettings, Stylizer
    from npstyle.run.table import read_given

    settings = with_preset(DEMO | read_given(Settings, entries))
    height = max(1, settings.size * 3 // 4)
    checked_sizes(load_network(network), settings, (height, settings.size), ())
    make_folder(folder)
    _check_demo([folder / f"{name}.png" for name in (*DRAWN, "styled", *TRAINED_STYLES)])
    photo, painting = (folder / f"{name}.png" for name in DRAWN)
    outputs = Outputs(output=folder / "styled.png", **read_given(Outputs, entries))
    save_image(photo, draw_photo(height, settings.size), DEMO_RECORD)
    save_image(painting, draw_painting(height, settings.size), DEMO_RECORD)
    run_and_save(
        Pictures(photo, (painting,)),
        network,
        settings,
        Machine(**read_given(Machine, entries)),
        outputs,
    )
    for style in TRAINED_STYLES:
        painted = Stylizer((), StyleSettings(style=style))(photo)
        save_image(folder / f"{style}.png", painted.image, painted.record)
        if not outputs.quiet:
            print(f"wrote {folder / style}.png, painted in one pass")


def _check_demo(paths: list[Path]) -> None:
    """Raise InputError if a picture is there that no demo wrote."""
    from npstyle.images.read import read_settings

    for path in paths:
        if not os.path.lexists(path):
            continue
        try:
            record = read_settings(path)
        except InputError:
            record = {}
        if record.get("drawn") is None and record.get("photo") != f"{DRAWN[0]}.png":
            raise InputError(f"{path}: is not from a demo, and would be replaced; choose a folder")


@app.command(cls=Command, parameters=lambda: [argument("picture", "A picture written by npstyle.")])
def info(picture: Path) -> None:
    """Print the settings and the final loss that are recorded in a picture."""
    from npstyle.cli.console import print_table
    from npstyle.images.read import read_settings

    print_table(read_settings(picture))


for command in (
    transfer,
    stylize,
    train,
    batch,
    reconstruct,
    texture,
    figure,
    gradcheck,
    explain,
    atlas,
    weights,
):
    app.add_command(command)


def _sentence(error: click.ClickException) -> str:
    """Return one sentence about a command line that cannot be understood."""
    # A misspelt option or command has suggestions, which format_message adds as a second sentence.
    suggests = hasattr(error, "possibilities")
    text = error.message if suggests else " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "npstyle"
    return f"{text.rstrip('.')}; see {command} --help"


def main() -> None:
    """Run the command line.

    Bad input ends with one sentence and exit code 2. A warning is one line as well.
    """
    with lasting_streams() as out:
        with ending_signals() as received, warnings.catch_warnings():
            print_warnings_in_one_line()
            code = _code(received)
        if out is not None:
            sys.stdout.flush()
            if out.problem:
                print(f"npstyle: standard output: text is missing ({out.problem})", file=sys.stderr)
                code = code or 1
    sys.exit(code)


def _code(received: list[int]) -> int:
    """Run a command and return its exit code; the last of `received` is the signal after Ctrl-C."""
    try:
        code: int = app.main(prog_name="npstyle", standalone_mode=False) or 0
    except InputError as error:
        print(f"npstyle: {error}", file=sys.stderr)
        code = 2
    except MemoryError as error:
        print(
            f"npstyle: memory ran out ({error}); free some, or use smaller sizes", file=sys.stderr
        )
        code = 2
    except OSError as error:
        if error.errno not in MENDS:
            raise
        says = MENDS[error.errno].format(error.strerror)
        print(f"npstyle: {error.filename}: {says}", file=sys.stderr)
        code = 2
    except click.ClickException as error:
        print(f"npstyle: {_sentence(error)}", file=sys.stderr)
        code = 2
    except click.Abort:
        print("npstyle: interrupted", file=sys.stderr)
        code = 128 + received[-1]
    return code
