"""Runs that are interrupted or killed, or whose disk is full, lose little."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from npstyle.images.read import load_image, read_settings
from tests.cli.program import npstyle, start, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_the_best_picture_so_far(pictures, tmp_path, number):
    output = tmp_path / "out.png"
    options = ("--size", 96, "--iterations", 100000, "--network", "builtin", "-o", output)
    process = start("transfer", *pictures, *options)
    wait_for(process, "1/")
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "interrupted" in out
    assert err == ""
    assert read_settings(output)["stopped"] == "interrupted"
    assert np.abs(load_image(output) - load_image(pictures[0], 96)).mean() > 1
    assert os.listdir(tmp_path) == ["out.png"]


def test_save_every_writes_the_picture_before_the_end(pictures, tmp_path):
    output = tmp_path / "out.png"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "npstyle.cli", "transfer", *map(str, pictures), "--quiet"),
            *("--size", "48", "--iterations", "100000", "--network", "builtin"),
            *("--save-every", "2", "-o", str(output)),
        ]
    )
    try:
        for _ in range(300):
            if output.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert load_image(output).shape == (36, 48, 3)


def test_a_killed_run_resumes_and_loses_at_most_save_every_steps(pictures, tmp_path):
    options = ("--scales", "32,96", "--iterations", "2000", "--network", "builtin")
    options += ("--save-every", "3", "-o", "out.png")
    command = [sys.executable, "-u", "-m", "npstyle.cli", "transfer", *map(str, pictures)]
    process = subprocess.Popen(
        [*command, *options, "--checkpoint", "run.npz", "--log", "run.jsonl"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    log = tmp_path / "run.jsonl"
    try:
        for _ in range(600):
            if log.exists() and log.read_text().count("\n") >= 20:
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = log.read_text().count("\n")
    with np.load(tmp_path / "run.npz") as file:
        kept = json.loads(str(file["meta"]))["iteration"]
    assert steps - 3 <= kept <= steps + 1
    changed = npstyle(
        "transfer", *pictures, *options, "--seed", 1, "--resume", "run.npz", cwd=tmp_path
    )
    assert changed.returncode == 2
    assert "--seed was 0 and is 1 now" in changed.stderr
    process = subprocess.Popen(
        [*command, *options, "--resume", "run.npz"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    text = ""
    for line in process.stdout:
        text += line
        if line[0].isdigit():
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert f"resumed   after {kept} of 2000 steps at size 32" in text
    assert read_settings(tmp_path / "out.png")["iterations_done"] > kept


@pytest.mark.skipif(
    sys.platform != "linux", reason="the limit on file sizes that stands for a full disk is Linux's"
)
def test_a_full_scratch_disk_is_reported_and_the_last_checkpoint_is_complete(pictures, tmp_path):
    import resource

    options = ("--scales", "32,64", "--iterations", 4, "--network", "builtin", "--tile", 16)
    options += ("--content-layers", "conv1_1", "--scratch", tmp_path, "--device", "cpu")
    command = [sys.executable, "-m", "npstyle.cli", "transfer", *pictures, *options]
    run = subprocess.run(
        [*map(str, command), "--checkpoint", "run.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        # The content target fits at the first scale (49 kB), not at the second (197 kB).
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)),
    )
    assert run.returncode == 2, run.stderr
    assert f"--scratch {tmp_path}: content conv1_1 takes 0.2 MB there" in run.stderr
    assert "Traceback" not in run.stderr
    with np.load(tmp_path / "run.npz") as file:
        assert json.loads(str(file["meta"]))["iteration"] == 4
        assert file["image"].shape == (24, 32, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]
