"""The program as users run it: in a process of its own."""

import subprocess
import sys

import pytest


def npstyle(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "npstyle.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


def start(*arguments):
    """Start a command whose output can be read while it runs."""
    command = [sys.executable, "-u", "-m", "npstyle.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, beginning):
    """Read what a command prints up to a line with this beginning."""
    for line in process.stdout:
        if line.startswith(beginning):
            return
    pytest.fail(process.stderr.read())


def quick(pictures, *options):
    return (
        "transfer",
        *pictures,
        "--size",
        48,
        "--iterations",
        3,
        "--network",
        "builtin",
        "--device",
        "cpu",
        *options,
    )
