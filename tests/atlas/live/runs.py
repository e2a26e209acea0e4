"""Runs with a page, in processes of their own, as a user starts them."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.request import Request, urlopen

import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image

WAIT = 240
"""Seconds: a machine with other work may take this long to start a run."""

needs_live = pytest.mark.skipif(
    not (find_spec("starlette") and find_spec("uvicorn")),
    reason="Starlette and Uvicorn, the extra `live`, are not installed",
)


def draw_pictures(folder):
    save_image(folder / "photo.png", draw_photo(48, 64))
    save_image(folder / "painting.png", draw_painting(48, 64))


@contextmanager
def live_run(folder, *options, iterations=30):
    """Start a run; yields the process and the address of its page."""
    draw_pictures(folder)
    command = [sys.executable, "-m", "npstyle.cli", "transfer", "photo.png", "painting.png"]
    command += ["-o", "out.png", "--network", "builtin", "--size", "64", "--device", "cpu"]
    command += ["--iterations", str(iterations), "--threads", "1", "--init", "content"]
    process = subprocess.Popen(
        [*command, "--exact", "--live", "--no-open", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if found := re.match(r"live +(http://\S+)", line):
                yield process, found[1]
                break
        else:
            raise AssertionError(printed + process.stderr.read())
    finally:
        process.kill()
        process.communicate()


def events(address):
    """Yield the events of a page until the server ends them; the run waits until they begin."""
    order(address, "pause")
    with urlopen(address + "events", timeout=WAIT) as stream:
        order(address, "resume")
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def order(address, name):
    with urlopen(Request(address + name, method="POST"), timeout=WAIT) as answer:
        assert answer.status == 204
