"""The settings of the machine: the device, and how much memory and how many threads to use."""

import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from npstyle.engine.device import CPU, Device, free_memory, held_memory
from npstyle.engine.disk import on_disk
from npstyle.errors import InputError
from npstyle.run.table import MACHINE, setting, threads_setting

TileChoice = int | Literal["auto", "off"]

SHARE = 0.8
"""Share of the free memory that a run may use by default."""

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
"""Bytes per unit of a memory size."""


def parse_tile(option: str, value: Any) -> TileChoice:
    """Read "auto", "off" or a number of pixels; raises InputError."""
    text = str(value)
    if text in ("auto", "off"):
        return "auto" if text == "auto" else "off"
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise InputError(f"{option} {text}: give auto, off, or a tile's longest side in pixels")
    return int(text)


def parse_memory(option: str, value: Any) -> int:
    """Read a size in bytes, such as "4GB", "800 MB" or "3.5GiB"; raises InputError."""
    text = str(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if match is None or (match[3] and not match[2]) or float(match[1]) == 0:
        raise InputError(f"{option} {text}: give a size such as 4GB or 800MB")
    unit = UNITS[match[2].upper()]
    return int(float(match[1]) * (2 ** (10 * round(math.log(unit, 1000))) if match[3] else unit))


def parse_scratch(_option: str, value: Any) -> Path:
    """Read the name of a folder; raises InputError if no file can be created in it."""
    folder = Path(str(value))
    on_disk(folder)
    return folder


def memory_setting(effect: str = "") -> Any:
    """Declare `memory`, for the search and for painting in one pass alike.

    Parameters
    ----------
    effect : str
        What the program does to need no more.
    """
    return setting(
        None,
        f"Memory that the program may use, such as 4GB. {effect}".rstrip(),
        MACHINE,
        metavar="SIZE",
        parse=parse_memory,
        shown="80 % of the free memory",
    )


def allowed_memory(limit: int | None, device: Device = CPU, share: float = 1.0) -> int:
    """Return the bytes that a run may take beyond what the process holds.

    Parameters
    ----------
    limit : int or None
        Bytes that the whole process may hold.
    device : Device
    share : float
        Share of the free memory that is allowed where there is no limit.
    """
    if limit is not None:
        return limit - held_memory(device)
    return int(share * free_memory(device))


def largest_side(least: int, longest: int, needed: Callable[[int], int], memory: int) -> int | None:
    """Return the largest longest side of a picture for which memory suffices.

    Parameters
    ----------
    least, longest : int
        The range of sides to choose from, in pixels.
    needed : callable
        From a side to the bytes that it takes, which grow with it. It may raise InputError for
        sides that are too small.
    memory : int
        Bytes that there are.

    Returns
    -------
    int or None
        None if there is no such side.
    """

    def bytes_or_none(side: int) -> int:
        try:
            return needed(side)
        except InputError:  # too small for a network: the side to look for is larger
            return 0

    found = least - 1 + bisect_right(range(least, longest + 1), memory, key=bytes_or_none)
    return found if found >= least and bytes_or_none(found) else None


@dataclass(frozen=True)
class Machine:
    """Where a run computes, and how much of the machine it may use.

    The fields are documented where they are declared; `npstyle transfer --help` prints the same
    texts. `memory` is a number of bytes.
    """

    threads: int | None = threads_setting()
    device: str = setting(
        "auto",
        "Where to compute. auto: on the first NVIDIA GPU if it works, else on the CPU. A GPU needs "
        "CuPy: npstyle[cuda13] or npstyle[cuda12].",
        MACHINE,
        metavar="auto|cpu|cuda|cuda:N",
    )
    tile: TileChoice = setting(
        "auto",
        "Process the picture in tiles of N pixels. The gradient is the same as in one piece; it "
        "takes much less memory and up to twice the time. auto: only if the whole picture does "
        "not fit in memory.",
        MACHINE,
        metavar="auto|off|N",
        parse=parse_tile,
    )
    memory: int | None = memory_setting("Tiles and the history of L-BFGS are chosen to fit.")
    scratch: Path | None = setting(
        None,
        "Keep the largest arrays in files in this folder while the program runs.",
        MACHINE,
        metavar="FOLDER",
        parse=parse_scratch,
    )
    cluster: str | None = setting(
        None,
        "Process the tiles on a Dask cluster: its scheduler's host:port or file, or local:N for N "
        "processes on this machine. Needs npstyle[cluster].",
        MACHINE,
        metavar="ADDRESS",
    )
