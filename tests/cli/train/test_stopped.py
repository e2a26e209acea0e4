"""Trainings that are killed or interrupted keep the style so far, and resume exactly."""

import csv
import signal
import subprocess
import sys

import numpy as np
import pytest

from npstyle.networks.style_network import load_style_network
from tests.cli.program import start, wait_for
from tests.cli.train.training import beside, kept_checkpoint, npstyle, training


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
