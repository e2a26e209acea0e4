"""The program as users run it: in a process of its own."""

import subprocess
import sys


def npstyle(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "npstyle.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


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
