"""Small trainings, run in the tests' process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from unittest import mock

from npstyle.cli.main import main

SMALL = ("--network", "builtin", "--width", 2, "--crop", 64, "--painting-size", 64)
SMALL = (*SMALL, "--threads", 1, "--device", "cpu")


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


def training(pictures, output, *options, photos=None, painting=None):
    folder = ("--photos", photos or pictures / "photos", "-o", output)
    return ("train", painting or pictures / "painting.jpg", *folder, *SMALL, *options)


def kept_checkpoint():
    """Let a training leave its checkpoint, so that its numbers can be compared."""
    return mock.patch("npstyle.cli.train._Session.clear")


def beside(output, ending):
    return output.with_name(output.stem + ending)
