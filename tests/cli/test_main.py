"""The other commands as users run them."""

import signal

import pytest

from npstyle.images.read import load_image, read_settings
from npstyle.onepass.styles import TRAINED_STYLES
from tests.cli.program import npstyle


def test_demo_writes_its_pictures(tmp_path):
    run = npstyle("demo", tmp_path / "demo", "--size", 48, "--iterations", 3)
    assert run.returncode == 0, run.stderr
    shapes = {p.name: load_image(p).shape for p in (tmp_path / "demo").iterdir()}
    names = ("photo", "painting", "styled", *TRAINED_STYLES)
    assert shapes == {f"{name}.png": (36, 48, 3) for name in names}


def test_reconstruct_and_texture_write_their_pictures(pictures, tmp_path, in_this_process):
    photo, painting = pictures
    quick = ("--iterations", 3, "--network", "builtin", "-q")
    run = in_this_process(
        "reconstruct", photo, "--layer", "conv2_2", "--size", 32, *quick, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    settings = read_settings(tmp_path / "photo-conv2_2.png")
    assert settings["content_layers"] == {"conv2_2": 1.0}
    assert settings["style_layers"] == {}
    layers = ("--layers", "conv1_1,conv2_1:2", "--size", "40x24")
    run = in_this_process("texture", painting, *layers, *quick, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert load_image(tmp_path / "painting-texture.png").shape == (24, 40, 3)
    settings = read_settings(tmp_path / "painting-texture.png")
    assert settings["style_layers"] == {"conv1_1": 1.0, "conv2_1": 2.0}


def test_figures_are_drawn_once(pictures, tmp_path, in_this_process):
    photo, painting = pictures
    quick = ("--size", 32, "--iterations", 1, "--network", "builtin", "-o", "figure")
    for command, cells in (
        (("content", photo), 5),
        (("style", painting), 5),
        (("grid", photo, painting, "--ratios", "1e-4", "1e-3"), 10),
    ):
        run = in_this_process("figure", *command, *quick, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert f"{cells}/{cells}" in run.stdout
        assert "already exists" not in run.stdout
        again = in_this_process("figure", *command, *quick, cwd=tmp_path)
        assert again.stdout.count("already exists") == cells
    assert load_image(tmp_path / "figure" / "sheet.png").shape[1] > 2 * 32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_figure_with_the_signals_exit_code(
    pictures, tmp_path, in_this_process, monkeypatch, number
):
    monkeypatch.setattr("npstyle.run.figures.run_cell", lambda *_: signal.raise_signal(number))
    options = ("--size", 32, "--network", "builtin", "-o", "figure", "-q")
    run = in_this_process("figure", "content", pictures[0], *options, cwd=tmp_path)
    assert run.returncode == 128 + number
    assert run.stderr == "npstyle: interrupted; the same command resumes at content-conv1_2\n"


def test_weights_are_normalised_and_printed_as_a_table(pictures, tmp_path, in_this_process):
    normalized = tmp_path / "n.npz"
    run = in_this_process("weights", "normalize", "builtin", normalized, *pictures)
    assert run.returncode == 0, run.stderr
    assert "scaled originals to" in run.stdout
    table = in_this_process("weights", "info", normalized, "--size", "64x48")
    assert table.returncode == 0, table.stderr
    assert "mean activation 1" in table.stdout
    assert "48, 64, 16" in table.stdout
    assert "million" in table.stdout or "billion" in table.stdout


def test_every_command_has_a_help_text(in_this_process):
    for command in (
        *(("transfer",), ("reconstruct",), ("texture",), ("demo",), ("info",)),
        *(("figure", "content"), ("figure", "style"), ("figure", "grid"), ("batch",)),
        ("weights", "normalize"),
        ("weights", "convert"),
    ):
        run = in_this_process(*command, "--help")
        assert run.returncode == 0
        assert "Usage" in run.stdout
    run = npstyle("--help")
    assert run.returncode == 0
    assert "Usage" in run.stdout
    assert "npstyle transfer" in run.stdout


def test_the_version_is_printed():
    from npstyle import __version__

    assert npstyle("--version").stdout == f"npstyle {__version__}\n"
