"""`npstyle batch` as users run it: in processes of its own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from npstyle.images.read import read_settings
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


MARKED = """
import os
from npstyle.cli.main import main
from npstyle.engine.objective import StyleObjective

evaluate, count = StyleObjective.__call__, 0

def marked(self, pixels):
    global count
    found = evaluate(self, pixels)
    count += 1
    if count == 5:
        open(f"busy-{os.getpid()}", "w").close()
    return found

StyleObjective.__call__ = marked
if __name__ == "__main__":
    main()
"""
"""The program, each of whose processes makes a file after a few evaluations of its first job."""


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_a_batch_and_keeps_the_pictures_so_far(pictures, tmp_path, jobs):
    photo, painting = (str(path) for path in pictures)
    lines = ['network = "builtin"', "size = 48", "iterations = 100000"]
    for k in range(4):
        lines += ["[[job]]", f'photo = "{photo}"', f'painting = "{painting}"']
        lines += [f'output = "{k}.png"']
    (tmp_path / "jobs.toml").write_text("\n".join(lines))
    (tmp_path / "program.py").write_text(MARKED)
    process = subprocess.Popen(
        [sys.executable, "program.py", "batch", "jobs.toml", "--jobs", str(jobs)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            if process.poll() is not None or len(list(tmp_path.glob("busy-*"))) == jobs:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert "interrupted" in out
    left = sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("busy-"))
    assert left == [*(f"{k}.png" for k in range(jobs)), "jobs.toml", "program.py"]
    for k in range(jobs):
        assert read_settings(tmp_path / f"{k}.png")["stopped"] == "interrupted"
