"""`npstyle train` as users run it: in this process, and where it is killed in one of its own."""

import csv
import hashlib
import io
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from npstyle.cli.main import main
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image, read_settings
from npstyle.images.write import save_image
from npstyle.networks.style_network import load_style_network
from npstyle.run.crops import LEAST_PHOTOS

SMALL = ("--network", "builtin", "--width", 2, "--crop", 64, "--painting-size", 64)
SMALL = (*SMALL, "--threads", 1, "--device", "cpu")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def npstyle(*arguments, out=None):
    """Run a command in this process; returns its exit code and what it printed."""
    out, err = out or io.StringIO(), io.StringIO()
    command = ["npstyle", *map(str, arguments)]
    with mock.patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(code=code or 0, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A painting and a folder of photos, which every test may read."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "photos").mkdir()
    save_image(folder / "painting.jpg", draw_painting(48, 64))
    for k in range(LEAST_PHOTOS):
        save_image(folder / "photos" / f"{k}.jpg", draw_photo(64, 80 + k))
    return folder


def training(pictures, output, *options, photos=None, painting=None):
    folder = ("--photos", photos or pictures / "photos", "-o", output)
    return ("train", painting or pictures / "painting.jpg", *folder, *SMALL, *options)


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """A training without a break: five steps, with savings after two, four and all of them."""
    output = tmp_path_factory.mktemp("trained") / "style.npz"
    with kept_checkpoint():
        run = npstyle(*training(pictures, output, "--steps", 5, "--save-every", 2))
    assert run.code == 0, run.err
    return output, run


@pytest.fixture(autouse=True)
def without_plots(request, monkeypatch):
    """Draw no plots, which take longer than a step, except in the training without a break."""
    if "trained" in request.fixturenames:
        request.getfixturevalue("trained")
    monkeypatch.setattr("npstyle.run.training_files.find_spec", lambda name: None)


def kept_checkpoint():
    """Let a training leave its checkpoint, so that its numbers can be compared."""
    return mock.patch("npstyle.cli.train._Session.clear")


def beside(output, ending):
    return output.with_name(output.stem + ending)


def numbers(output):
    """The arrays of the style and of the checkpoint by name, `meta` included, and the log."""
    found = {}
    for path in (output, beside(output, ".checkpoint.npz")):
        with np.load(path) as file:
            found |= {f"{path.suffixes[0]} {name}": file[name] for name in file.files}
    return found, beside(output, ".log.csv").read_text()


def assert_same_training(output, expected):
    (found, log), (right, right_log) = numbers(output), numbers(expected)
    assert log == right_log
    assert found.keys() == right.keys()
    for name, array in found.items():
        assert np.array_equal(array, right[name]), name


def test_the_plan_and_the_progress_say_what_happens(pictures, trained):
    output, run = trained
    for text in (
        "network   50 layers, width 2, 7,761 weights",
        f"painting  {pictures / 'painting.jpg'}, 64x48",
        "loss      builtin, preset gatys, content weight x 30",
        "photos    10, in crops of 64 pixels",
        "device    CPU, 1 thread\n",
        "training  5 steps, 1 crop per step",
        "memory    about 0.",
        f"output    {output}",
        "1/5  content ",
        "2/5  content ",
        "4/5  content ",
        "5/5  content ",
        "  0:00 left",
        f"wrote {output} after 5 steps",
    ):
        assert text in run.out
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


def start(*arguments):
    """Start a command in a process of its own."""
    command = [sys.executable, "-u", "-m", "npstyle.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, beginning):
    for line in process.stdout:
        if line.startswith(beginning):
            return
    pytest.fail(process.stderr.read())


KILL = """
import os, signal, sys
import numpy as np
from npstyle.cli.main import main
from npstyle.run import training_files
from npstyle.run.training import Trainer

training_files.find_spec = lambda name: None  # no plots, which take longer than a step
where, sys.argv[1:] = sys.argv[1], sys.argv[2:]
run, write = Trainer.run, np.savez
savings = []

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def run_and_die(self, training, steps=None):
    for step in run(self, training, steps):
        if step.training.step == 3:
            kill()
        yield step

def write_and_die(file, **arrays):
    savings.append(file)
    if len(savings) == 2:
        file.write(b"PK")
        file.flush()
        kill()
    write(file, **arrays)

if where == "between":
    Trainer.run = run_and_die
else:
    np.savez = write_and_die
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
@pytest.mark.parametrize("where", ["between", "writing"])
def test_a_training_that_was_killed_ends_as_one_without_a_break(pictures, trained, tmp_path, where):
    output, options = tmp_path / "style.npz", ("--steps", 5, "--save-every", 2)
    arguments = map(str, training(pictures, output, *options))
    command = [sys.executable, "-c", KILL, where, *arguments]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with kept_checkpoint():
        run = npstyle(*training(pictures, output, *options, "--resume"))
    assert run.code == 0, run.err
    assert "training  5 steps, 1 crop per step\nresumed   after 2 steps\n" in run.out
    assert_same_training(output, trained[0])


def test_sigterm_keeps_the_style_so_far(pictures, tmp_path):
    output = tmp_path / "style.npz"
    process = start(*training(pictures, output, "--steps", 5000))
    try:
        wait_for(process, "1/5000")
        process.terminate()
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err.startswith("npstyle: interrupted after ")
    assert err.endswith(f"{output} is the style so far, --resume goes on\n")
    assert err.count("\n") == 1
    assert load_style_network(output).name == "painting"
    names = {path.name for path in tmp_path.iterdir()} - {"style.losses.png"}
    assert names == {
        *("style.npz", "style.checkpoint.npz", "style.log.csv", "style.preview.png"),
    }


def interrupt_after_step(patch, number):
    """Let Ctrl-C be pressed after a step."""
    from npstyle.run.training import Trainer

    run = Trainer.run

    def interrupted(self, training, steps=None):
        for step in run(self, training, steps):
            if step.training.step == number:
                signal.raise_signal(signal.SIGINT)
            yield step

    patch.setattr(Trainer, "run", interrupted)


def interrupt_every_saving(patch):
    """Let Ctrl-C be pressed whenever files are being written, also after an earlier Ctrl-C."""
    from npstyle.run import training_files

    save = training_files.save_training

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        save(*arguments)

    patch.setattr(training_files, "save_training", interrupted)


@pytest.mark.parametrize(
    ("press", "rows"),
    [
        (lambda patch: interrupt_after_step(patch, 3), ["2", "3"]),
        (interrupt_every_saving, ["2"]),
    ],
    ids=["between", "saving"],
)
def test_a_training_that_was_interrupted_ends_as_one_without_a_break(
    pictures, trained, tmp_path, monkeypatch, press, rows
):
    output, options = tmp_path / "style.npz", ("--steps", 5, "--save-every", 2)
    with monkeypatch.context() as patch:
        press(patch)
        run = npstyle(*training(pictures, output, *options))
    assert run.code == 130, run.err
    assert f"interrupted after {rows[-1]} steps" in run.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with beside(output, ".log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == rows
    with kept_checkpoint():
        run = npstyle(*training(pictures, output, *options, "--resume"))
    assert run.code == 0, run.err
    assert_same_training(output, trained[0])


def test_ctrl_c_before_the_first_step_writes_nothing(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "npstyle.run.training.Trainer._objective", lambda _: signal.raise_signal(signal.SIGINT)
    )
    run = npstyle(*training(pictures, tmp_path / "style.npz", "--steps", 5))
    assert run.code == 130
    assert run.err == "npstyle: interrupted before the end of the first step; nothing was written\n"
    assert not list(tmp_path.iterdir())


def bad_inputs(folder, pictures):
    """Bad command lines, each with a text that the error message must contain."""
    output, photos = folder / "new.npz", pictures / "photos"
    text = folder / "text.jpg"

    def train(*options, **changes):
        return training(pictures, output, *options, **changes)

    def resume(*options, painting=None, name="old.npz"):
        return training(
            pictures, folder / name, "--steps", 5, *options, "--resume", painting=painting
        )

    return {
        "missing painting": (train(painting=folder / "no.jpg"), "no.jpg: no such picture"),
        "text as painting": (train(painting=text), "text.jpg"),
        "cut painting": (train("--steps", 1, painting=folder / "cut.jpg"), "cut.jpg"),
        "narrow painting": (train(painting=folder / "narrow.png"), "narrow.png: 64x1 pixels"),
        "photos not given": (("train", pictures / "painting.jpg"), "Missing option '--photos'"),
        "photos missing": (train(photos=folder / "no"), "there is no such folder"),
        "photos empty": (train(photos=folder / "empty"), "has 0 photos"),
        "photos few": (train(photos=folder / "few"), "has 1 photos"),
        "photos small": (train("--crop", 128), "has 0 photos of 128x128"),
        "crop": (train("--crop", 50), "--crop 50"),
        "steps": (train("--steps", 0), "--steps 0"),
        "width": (train("--width", 0), "--width 0"),
        "width too large": (train("--width", 10**6), "--width 1000000: the weights and their"),
        "width of words": (train("--width", "wide"), "--width wide: give a whole number"),
        "minutes and steps": (train("--minutes", 1, "--steps", 2), "--minutes and --steps"),
        "resume nothing": (train("--resume"), "--resume: there is no"),
        "resume damaged": (resume(name="damaged.npz"), "damaged.checkpoint.npz: is not a"),
        "resume painting": (resume(painting=photos / "0.jpg"), "another painting"),
        "resume width": (resume("--width", 4), "--width 4"),
        "resume content": (resume("--content-weight", 1), "--content-weight 1"),
        "resume shorter": (resume("--steps", 1), "--steps 1: the training has taken"),
        "suffix": (training(pictures, folder / "o.png"), "o.png"),
        "folder": (training(pictures, folder / "no" / "o.npz"), "does not exist"),
        "unfinished": (training(pictures, folder / "old.npz"), "add --resume"),
        "preview": (train("--preview", folder / "tiny.png"), "--preview"),
        "preview text": (train("--preview", text), "text.jpg"),
        "device": (train("--device", "gpu"), "--device gpu"),
        "memory": (train("--memory", "1MB"), "--crop 64: the training needs"),
        "start": (train("--start", "nosuch"), "--start nosuch: there is no such style or file"),
        "style as judge": (train("--network", "any_style"), "is a style network"),
        "style damaged": (("stylize", photos / "0.jpg", "--style", folder / "b.npz"), "b.npz"),
        "style foreign": (
            ("stylize", photos / "0.jpg", "--style", folder / "old.checkpoint.npz"),
            "old.checkpoint.npz: ",
        ),
        "style of a loss": (
            ("stylize", photos / "0.jpg", "--style", "builtin.npz"),
            "is not a style network",
        ),
    }


@pytest.fixture(scope="module")
def bad(pictures, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "few").mkdir()
    save_image(folder / "few" / "0.png", draw_photo(64, 64))
    save_image(folder / "tiny.png", draw_photo(8, 8))
    save_image(folder / "narrow.png", draw_painting(1, 100))
    (folder / "text.jpg").write_text("no picture")
    body = (pictures / "painting.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(body[: len(body) * 2 // 3])
    output, _ = trained
    checkpoint = beside(output, ".checkpoint.npz").read_bytes()
    (folder / "old.checkpoint.npz").write_bytes(checkpoint)
    (folder / "damaged.checkpoint.npz").write_bytes(checkpoint[:-100])
    (folder / "b.npz").write_bytes(output.read_bytes()[:-100])
    return folder


def snapshot(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("case", bad_inputs(Path(), Path()))
def test_bad_input_ends_with_one_sentence_and_exit_code_2(pictures, bad, case, monkeypatch):
    monkeypatch.chdir(bad)
    arguments, says = bad_inputs(bad, pictures)[case]
    before = snapshot(bad)
    run = npstyle(*arguments)
    assert run.code == 2, run.out + run.err
    assert says in run.err
    lines = [line for line in run.err.splitlines() if not line.startswith("skipped   ")]
    assert len(lines) == 1
    assert lines[0].startswith("npstyle: ")
    assert "1/" not in run.out
    assert snapshot(bad) == before


def test_the_help_text_teaches():
    run = npstyle("train", "--help")
    assert run.code == 0
    for text in ("--photos", "--resume", "--content-weight", "npstyle stylize", "The training"):
        assert text in run.out
