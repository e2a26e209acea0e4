"""Mutated files: shared by the tools that feed them to readers."""

import argparse
import multiprocessing
import resource
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError

MISLEADING = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, -1]
"""Numbers that replace bytes, such as wrong sizes and offsets."""

HEAD_SHARE = 0.5
"""Share of the changes in the first 4 KiB, where most formats have their header."""


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Return a copy of a file with one to eight changes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        end = min(len(changed), 4096) if rng.random() < HEAD_SHARE else len(changed)
        place = int(rng.integers(max(1, end)))
        length = int(rng.integers(1, 64))
        match rng.integers(6):
            case 0:
                changed[place : place + 1] = bytes([int(rng.integers(256))])
            case 1:
                size = int(rng.choice([1, 2, 4, 8]))
                number = MISLEADING[int(rng.integers(len(MISLEADING)))] & ((1 << 8 * size) - 1)
                changed[place : place + size] = struct.pack("<Q", number)[:size]
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length]
            case 4:
                other = int(rng.integers(max(1, len(changed))))
                changed[place : place + length] = changed[other : other + length]
            case 5 if rng.random() < 0.2:
                del changed[place:]
            case _:
                changed[place : place + 1] = bytes([changed[place] ^ 1 << int(rng.integers(8))])
        if not changed:
            changed = bytearray(1)
    return bytes(changed)


def read_all(
    files: Iterable[bytes], write: Callable[[bytes], None], read: Callable[[], Any], name: str
) -> dict[str, Any]:
    """Read mutated files one after the other; raise any error other than InputError.

    Parameters
    ----------
    files : iterable of bytes
    write : callable
        Writes a file to where `read` reads it.
    read : callable
    name : str
        Of the format. A file that fails in another way is kept as fuzz-NAME-NUMBER.dat.

    Returns
    -------
    dict
        The number of files, how many were refused, the longest processor time in seconds, and by
        how much the memory of the process has grown, in MiB.
    """
    refused, slowest, count = 0, 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count, mutated in enumerate(files, start=1):
        write(mutated)
        began = time.process_time()
        try:
            read()
        except InputError:
            refused += 1
        except BaseException:
            Path(f"fuzz-{name.replace(' ', '-')}-{count - 1}.dat").write_bytes(mutated)
            raise
        slowest = max(slowest, time.process_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"files": count, "refused": refused, "slowest_s": slowest, "grown_mib": grown}


def fuzz_formats(
    fuzz: Callable[[str, int, int], dict[str, Any]], formats: list[str], description: str | None
) -> None:
    """Run a tool: fuzz each format in a process of its own; print time and memory."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count", type=int, default=10_000, help="files per format (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the mutations (default: %(default)s)"
    )
    parser.add_argument(
        "--formats", nargs="+", choices=formats, default=formats, help="formats (default: all)"
    )
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in arguments.formats:
        # The pool raises BrokenProcessPool if its worker crashes.
        with ProcessPoolExecutor(1, context) as pool:
            found = pool.submit(fuzz, name, arguments.count, arguments.seed).result()
        print(
            f"{name:<28} {found['files']} files, {found['refused']} refused, slowest "
            f"{found['slowest_s'] * 1e3:.0f} ms, {found['grown_mib']:.0f} MiB more memory",
            flush=True,
        )
