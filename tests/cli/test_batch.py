"""`npstyle batch` as users run it: in processes of its own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.cli.program import npstyle


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_runs_the_good_jobs_and_reports_the_bad_ones(pictures, tmp_path, jobs):
    photo, painting = (str(path) for path in pictures)
    lines = ['network = "builtin"', "size = 32", "iterations = 2"]
    for k, source in enumerate((photo, "none.png", photo)):
        lines += ["[[job]]", f'photo = "{source}"', f'painting = "{painting}"']
        lines += [f'output = "{k}.png"']
    (tmp_path / "jobs.toml").write_text("\n".join(lines))
    run = npstyle("batch", tmp_path / "jobs.toml", "--jobs", jobs)
    assert run.returncode == 1
    assert "1/3" in run.stdout
    assert "3/3" in run.stdout
    assert "2/3  FAILED" in run.stderr
    assert "none.png" in run.stderr
    assert "1 of 3 jobs failed" in run.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0.png", "2.png", "jobs.toml"]


def wait_for_work(number, count):
    """Wait until this many processes of a program have computed for longer than they import."""
    program = psutil.Process(number)
    for _ in range(600):
        busy = 0
        for process in (program, *program.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                busy += process.cpu_times().user > 6
        if busy >= count:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_a_batch_and_keeps_the_pictures_so_far(pictures, tmp_path, jobs):
    photo, painting = (str(path) for path in pictures)
    lines = ['network = "builtin"', "size = 48", "iterations = 100000"]
    for k in range(4):
        lines += ["[[job]]", f'photo = "{photo}"', f'painting = "{painting}"']
        lines += [f'output = "{k}.png"']
    (tmp_path / "jobs.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "npstyle.cli", "batch", str(tmp_path / "jobs.toml")]
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_work(process.pid, jobs)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert "interrupted" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(f"{k}.png" for k in range(jobs)),
        "jobs.toml",
    ]
