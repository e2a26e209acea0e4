"""Compiled loops on the command line: they are loaded before a run, and compiled the first time."""

from threading import Timer

from npstyle.engine.device import Device, engine_of

COMPILING_AFTER = 3.0
"""Seconds after which loading the loops must mean compiling them; from their files it takes one."""

NOTICE = "loops     being compiled for this processor: some ten seconds, the first time only"


def load_loops(device: Device, quiet: bool) -> None:
    """Load the loops of the fast route, and say so unless `quiet` if they have to be compiled."""
    notice = Timer(COMPILING_AFTER, print, (NOTICE,), {"flush": True})
    if not (quiet or device.is_gpu):
        notice.start()
    try:
        engine_of(device, fast=True)
    finally:
        notice.cancel()
