"""The command line is made from the tables of settings."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from npstyle.cli.main import app
from npstyle.cli.options import spread_lists
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.recording import Outputs
from npstyle.run.settings import Settings, with_preset
from npstyle.run.table import read_given, settings_of

README = Path(__file__).resolve().parents[2] / "README.md"
TABLES = (Settings, Pictures, Machine, Outputs)


def parse(line):
    """Parse a command line without running it; returns the command's parameters."""
    command, arguments = app, shlex.split(line)
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    return command.make_context(command.name, arguments).params


def test_every_setting_is_an_option_of_transfer_once():
    command = app.commands["transfer"]
    context = click.Context(command)
    options = [o for parameter in command.get_params(context) for o in parameter.opts]
    for table in TABLES:
        for setting in settings_of(table).values():
            assert options.count(setting.option) == 1
            assert setting.help.endswith(".")


def test_only_options_that_are_given_reach_the_settings():
    entries = parse("transfer p.jpg s.jpg --preset neural-style --style-weight 7 --seed 0")
    given = read_given(Settings, entries)
    assert given == {"preset": "neural-style", "style_weight": 7.0, "seed": 0}
    settings = with_preset(given)
    assert (settings.content_weight, settings.style_weight, settings.pooling) == (5.0, 7.0, "max")
    assert read_given(Machine, entries) == read_given(Outputs, entries) == {}


def test_options_reach_their_tables_with_their_types():
    entries = parse(
        "transfer p.jpg s.jpg --exact --threads 3 --memory 4GB --tile off -o out.png "
        "--save-every 5 -q --content-mask a.png b.png --blend 3 7 --scales 64,128"
    )
    assert read_given(Settings, entries) == {
        "exact": True,
        "blend": (3.0, 7.0),
        "scales": (64, 128),
    }
    assert read_given(Machine, entries) == {"threads": 3, "memory": 4 * 10**9, "tile": "off"}
    assert Outputs(**read_given(Outputs, entries)) == Outputs(
        output=Path("out.png"), save_every=5, quiet=True
    )
    assert read_given(Pictures, entries) == {"content_masks": (Path("a.png"), Path("b.png"))}


def test_an_option_with_several_values_may_stand_anywhere():
    several = {"--style", "--blend"}
    spread = ["p", "--style", "a", "--style", "b", "--blend", "3", "--blend", "7", "-o", "x"]
    given = ["p", "--style", "a", "b", "--blend", "3", "7", "-o", "x"]
    assert spread_lists(given, several) == spread
    for unchanged in (["p", "a", "-q"], ["--style", "a", "--", "b"], ["-o", "x", "p"]):
        assert spread_lists(unchanged, several) == unchanged


@pytest.mark.parametrize("style", ["--style a.png b.png", "--style=a.png b.png"])
def test_several_values_are_read_with_and_without_an_equals_sign(style):
    entries = parse(f"transfer p.jpg {style} --blend=3 7")
    assert entries["style"] == (Path("a.png"), Path("b.png"))
    assert read_given(Settings, entries) == {"blend": (3.0, 7.0)}


def commands_in_the_readme():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    inline = re.findall(
        r"`(npstyle (?:transfer|batch|weights|texture|figure) [^`]*)`", README.read_text()
    )
    calls = [line.split("npstyle ", 1)[1] for line in lines if "bin/npstyle " in line]
    calls += [line.removeprefix("npstyle ") for line in inline]
    # Leave out those with placeholders, such as `npstyle texture PAINTING`.
    return [call for call in calls if not re.search(r"\b[A-Z]{4,}\b|\.\.\.|--help", call)]


@pytest.mark.parametrize("line", commands_in_the_readme())
def test_the_readmes_command_lines_are_understood(line):
    entries = parse(line)
    with_preset(read_given(Settings, entries))
    read_given(Pictures, entries)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("transfer --nope", "No such option '--nope'; see npstyle transfer --help"),
        ("transfer", "Missing argument 'PHOTO'; see npstyle transfer --help"),
        ("transfer p.jpg s.jpg --seed", "requires an argument; see npstyle"),
        ("dream", "No such command 'dream'; see npstyle --help"),
        (
            "weights fetch vgg11",
            "'vgg11' is not one of 'vgg16', 'vgg19'; see npstyle weights fetch",
        ),
        ("transfer p.jpg s.jpg --size 1.5", "--size 1.5: give a whole number"),
        ("transfer p.jpg s.jpg --pooling sum", "--pooling sum: give one of avg, max, l2"),
        ("transfer p.jpg s.jpg --style-weight much", "--style-weight much: give a number"),
        ("transfer p.jpg s.jpg --save-every -1", "--save-every -1: give a number of 0 or more"),
        ("batch jobs.toml --jobs 0", "--jobs 0: give a number of 1 or more"),
    ],
)
def test_a_bad_command_line_ends_with_one_sentence_and_exit_code_2(in_this_process, line, sentence):
    run = in_this_process(*line.split())
    assert run.returncode == 2
    assert run.stdout == ""
    assert sentence in run.stderr
    assert run.stderr.startswith("npstyle: ")
    assert run.stderr.count("\n") == 1


def test_the_help_text_is_printed_without_numpy_scipy_or_pillow():
    code = (
        "import sys; sys.argv = ['npstyle', '--help']\n"
        "from npstyle.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'scipy', 'PIL') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "transfer" in run.stdout
    assert run.stdout.endswith("[]\n")
