"""`npstyle train` as users run it, in the tests' process."""

import csv
import hashlib
import io
import re
from importlib.util import find_spec

import numpy as np

from npstyle.images.read import load_image, read_settings
from npstyle.networks.style_network import load_style_network
from tests.cli.train.training import beside, npstyle, training


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_plan_and_the_progress_say_what_happens(pictures, trained):
    output, run = trained
    for text in (
        "network   50 layers, width 2, 7,761 weights",
        f"painting  {pictures / 'painting.jpg'}, 64x48",
        "loss      builtin, preset gatys, content weight x 30",
        "photos    10, in crops of 64 pixels",
        "device    CPU, 1 thread\n",
        "training  5 steps, 1 crop per step",
        f"output    {output}",
        "1/5  content ",
        "2/5  content ",
        "4/5  content ",
        "5/5  content ",
        "  0:00 left",
        f"wrote {output} after 5 steps",
    ):
        assert text in run.out
    assert re.search(r"\nmemory    about \d+\.\d\d GB\n", run.out)
    assert "3/5" not in run.out
    assert not run.err


def test_all_files_are_written(trained):
    output, _ = trained
    assert load_style_network(output).source == "trained by npstyle on the painting painting.jpg"
    assert load_image(beside(output, ".preview.png")).shape == (64, 80, 3)
    with beside(output, ".log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert all(float(value) > 0 for row in rows for value in row.values())
    if find_spec("matplotlib") is not None:
        assert load_image(beside(output, ".losses.png")).shape[1] > 500


def test_a_picture_records_the_trained_style_and_its_hash(pictures, trained, tmp_path):
    (output, _), picture = trained, tmp_path / "out.png"
    photo = pictures / "photos" / "0.jpg"
    run = npstyle("stylize", photo, "--style", output, "-o", picture)
    assert run.code == 0, run.err
    record = read_settings(picture)
    assert (record["style"], record["network"]) == (output.name, "painting")
    assert record["network_sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    printed = npstyle("info", picture).out
    assert record["network_sha256"] in printed
    # The preview was painted before the weights were stored in short numbers.
    assert np.abs(load_image(picture) - load_image(beside(output, ".preview.png"))).max() < 4
    about = npstyle("weights", "info", output).out
    painting = hashlib.sha256((pictures / "painting.jpg").read_bytes()).hexdigest()
    for text in ("painting.jpg", painting, record["network_sha256"], "1 learned style"):
        assert text in about


def test_a_terminal_shows_a_bar(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    run = npstyle(*training(pictures, tmp_path / "style.npz", "--steps", 2), out=out)
    assert run.code == 0, run.err
    assert "━" in run.out
    assert "2/2" in run.out
    assert not [line for line in run.out.splitlines() if line.startswith("1/2")]


def test_quiet_prints_nothing_and_a_finished_training_leaves_no_checkpoint(pictures, tmp_path):
    run = npstyle(*training(pictures, tmp_path / "style.npz", "--steps", 1, "--quiet"))
    assert (run.code, run.out, run.err) == (0, "", "")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"style.npz", "style.log.csv", "style.preview.png"}
    again = npstyle(*training(pictures, tmp_path / "style.npz", "--steps", 2, "--resume"))
    assert again.code == 2
    assert "style.checkpoint.npz, which exists until a training is done" in again.err


def test_the_plan_says_what_compiled_loops_would_bring(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("npstyle.engine.device.missing_loops", lambda: "`pip install x` is faster")
    run = npstyle(*training(pictures, tmp_path / "style.npz", "--steps", 1))
    assert run.code == 0, run.err
    assert "CPU, 1 thread\n          `pip install x` is faster\n" in run.out


def test_photos_that_cannot_be_read_are_skipped_with_a_line_each(pictures, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (pictures / "photos").iterdir():
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "text.jpg").write_text("no picture")
    body = (photos / "0.jpg").read_bytes()
    (photos / "0a.jpg").write_bytes(body[: len(body) * 2 // 3])
    (photos / "0.jpg").write_bytes(body[: len(body) * 2 // 3])
    options = ("--steps", 1, "--seed", 11)  # it draws the second of eleven photos first
    run = npstyle(*training(pictures, tmp_path / "style.npz", *options, photos=photos))
    assert run.code == 0, run.err
    lines = run.err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("text.jpg", "0.jpg", "0a.jpg"), strict=True):
        assert line.startswith("skipped   ")
        assert str(photos / name) in line
    assert "11, in crops" in run.out


def test_the_help_text_teaches():
    run = npstyle("train", "--help")
    assert run.code == 0
    for text in ("--photos", "--resume", "--content-weight", "npstyle stylize", "The training"):
        assert text in run.out
