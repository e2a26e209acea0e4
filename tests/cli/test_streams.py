import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from npstyle.cli.streams import Dropped, lasting_streams
from npstyle.engine.interrupts import ending_signals
from npstyle.images.read import load_image, read_settings
from tests.cli.program import start, wait_for

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")


def test_a_closed_terminal_keeps_the_best_picture_as_ctrl_c_does(pictures, tmp_path):
    output = tmp_path / "out.png"
    options = ("--size", 48, "--iterations", 100000, "--network", "builtin", "--device", "cpu")
    files = ("-o", output, "--checkpoint", tmp_path / "run.npz")
    process = start("transfer", *pictures, *options, *files)
    try:
        wait_for(process, "1/")
        # As `| head -1` does: the run goes on, and its next line finds no reader.
        process.stdout.close()
        process.stderr.close()
        time.sleep(1)
        assert process.poll() is None
        # A shell and the kernel each send a signal when a terminal is closed.
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert read_settings(output)["stopped"] == "interrupted"
    assert load_image(output).shape == (36, 48, 3)
    assert sorted(os.listdir(tmp_path)) == ["out.png", "run.npz"]


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals() as received:
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGINT, signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_text_without_a_reader_is_dropped():
    reader, writer = os.pipe()
    os.close(reader)
    with Dropped(writer, "w") as file:
        assert file.write(b"text") == 4
        assert file.problem == ""


@needs_full
def test_text_for_a_full_disk_is_missed_and_the_exit_code_says_so():
    with FULL.open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "npstyle.cli", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert run.returncode == 1
    assert run.stderr == ("npstyle: standard output: text is missing (No space left on device)\n")


def test_every_text_is_printed_whatever_the_encoding():
    code = (
        "import os, sys\n"
        "from npstyle.cli.streams import lasting_streams\n"
        "with lasting_streams():\n"
        "    print(os.fsdecode(b'caf\\xe9'), '\\u00e9')\n"
    )
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env)
    assert (run.stdout.strip(), run.stderr) == (b"caf\\udce9 \\xe9", b"")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_stream_that_was_closed_before_is_one_that_drops_text(monkeypatch, closed):
    monkeypatch.setattr(sys, closed, None)
    with lasting_streams() as out:
        stream = getattr(sys, closed)
        assert not stream.isatty()
        print("nobody reads this", file=stream, flush=True)
        assert out is None or closed == "stderr"
    assert getattr(sys, closed) is None


def test_streams_that_are_not_the_processs_own_stay():
    before = sys.stdout
    with lasting_streams() as file:
        assert sys.stdout is before
        assert file is None
