"""The machine: its cores and its memory."""

import ctypes
import math
import os
import re
import sys
from pathlib import Path

import psutil

from npstyle.engine import containers
from npstyle.errors import InputError

M_MMAP_THRESHOLD = -3
"""Number of a parameter of glibc's mallopt, from malloc.h."""

MMAP_THRESHOLD = 1 << 21
"""Bytes from which glibc maps an array separately. Pictures are larger; the small arrays that a
strip needs again and again are smaller."""

MADV_DONTNEED = 4
"""Number of an advice of Linux's madvise, from mman.h."""

SMAPS = r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(/[^\n]*)$.*?^Anonymous: +(\d+) kB$"
"""A mapping of a file in /proc/self/smaps: its addresses, access and path, and the kilobytes that
differ from the file."""


def release_memory() -> None:
    """Make freed large arrays return their memory to the operating system at once.

    By default glibc raises its threshold as arrays come and go, and then keeps freed memory in gaps
    that fit no other array: a tenth of the peak. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)


def release_library(name: str) -> None:
    """Give back the pages of a loaded library that are as in its file, until they are used again.

    Parameters
    ----------
    name : str
        Beginning of the file's name, such as "libllvmlite". Only Linux can do it.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
    if madvise is None:
        return
    mappings = re.finditer(SMAPS, Path("/proc/self/smaps").read_text(), re.MULTILINE | re.DOTALL)
    for first, end, access, path, changed in (mapping.groups() for mapping in mappings):
        if Path(path).name.startswith(name) and "w" not in access and changed == "0":
            start = int(first, 16)
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(int(end, 16) - start), MADV_DONTNEED)


def thread_count(requested: int | None) -> int:
    """Return the requested number of threads, by default one per physical core.

    Raises
    ------
    InputError
        If fewer than 1 thread is requested.
    """
    if requested is None:
        return physical_cores()
    if requested < 1:
        raise InputError(f"--threads {requested}: give a number of threads of 1 or more")
    return requested


def physical_cores() -> int:
    """Count the physical cores that this process may use.

    Hyper-threads of a core count once. Where a container may use a share of the processors only,
    such as 1.5 of them, so many count, rounded up.
    """
    share = containers.processors()
    cores = _cores()
    return cores if share is None else max(1, min(cores, math.ceil(share)))


def _cores() -> int:
    """Count the physical cores that the process may be scheduled on."""
    if not hasattr(os, "sched_getaffinity"):
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def held_memory() -> int:
    """Return the memory that this process occupies now, in bytes."""
    held: int = psutil.Process().memory_info().rss
    return held


def available_memory() -> int:
    """Return the memory that this process can still take without swapping, in bytes."""
    free: int = psutil.virtual_memory().available
    allowed = containers.free_memory(held_memory())
    return free if allowed is None else min(free, allowed)
