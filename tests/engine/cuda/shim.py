"""Runs CUDA kernels on the CPU: their own source, compiled by g++ with `shim.h`.

Every run is strict. Arrays are placed beside protected pages, and outputs begin as NaN. Each kernel
runs twice, the second time with its threads and blocks in reversed order and its arrays beside the
other page, and must give the same bits.
"""

import atexit
import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from npstyle.engine.cuda import launch as cuda

GXX = shutil.which("g++") if sys.platform == "linux" else None
REASON = "compiling the kernels for the CPU needs g++ on Linux"
PAGE, ALIGNED, NO_ACCESS = mmap.PAGESIZE, 16, 0
LIBC = ctypes.CDLL(None) if GXX else None

FAULTS = {
    1: "a thread returned while others waited at a barrier",
    2: "accessed memory outside an array",
    3: "rows of an ldmatrix were in one bank",
}

TYPES = {"f": np.float32, "d": np.float64, "i": np.int32, "l": np.int64}
POINTERS = {"F": np.float32, "D": np.float64, "I": np.uint32, "B": np.uint8}

MOST_BLOCKS, MOST_THREADS = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
"""CUDA's limits along each axis of a grid and of a block; a block has 1024 threads at most."""


class Out:
    """An array that a kernel writes; `initial` holds its values if the kernel reads them first."""

    def __init__(self, shape, dtype=np.float32, initial=None):
        self.shape, self.dtype, self.initial = shape, np.dtype(dtype), initial

    def first_value(self):
        if self.initial is not None:
            return self.initial
        return np.full(self.shape, np.nan if self.dtype.kind == "f" else 0xAB, self.dtype)


class Guarded:
    """An array between two protected pages, beside the first or beside the last of them.

    The rest of the pages between is filled with NaN, and must be unchanged afterwards.
    """

    def __init__(self, values, at_end=False):
        values = np.ascontiguousarray(values)
        inner = -(-values.nbytes // PAGE) * PAGE
        pages = mmap.mmap(-1, inner + 2 * PAGE)
        whole = np.frombuffer(pages, np.uint8)
        for guard in (whole[:PAGE], whole[-PAGE:]):
            LIBC.mprotect(ctypes.c_void_p(guard.ctypes.data), ctypes.c_size_t(PAGE), NO_ACCESS)
        self.raw = whole[PAGE:-PAGE]
        self.raw[:] = 0xFF  # NaN in every float type
        # At the end, as close to it as the alignment of CUDA's vector loads allows.
        self.first = (inner - values.nbytes) // ALIGNED * ALIGNED if at_end else 0
        self.end = self.first + values.nbytes
        inside = self.raw[self.first : self.end]
        self.values = inside.view(values.dtype).reshape(values.shape)
        self.values[...] = values
        self.pointer = ctypes.c_void_p(inside.ctypes.data)

    def untouched(self):
        return bool(np.all(self.raw[: self.first] == 0xFF) and np.all(self.raw[self.end :] == 0xFF))


@cache
def folder():
    """Folder of the kernels that this process compiles; it is removed when Python exits."""
    path = Path(mkdtemp(prefix="npstyle-shim-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def share(place):
    """Share the compiled kernels of the package with other processes, in a folder."""
    global _shared
    _shared = Path(place)
    _shared.mkdir(exist_ok=True)


_shared = None


def compiled(name, text, kernels):
    """Compile a source for the CPU; raise CalledProcessError if g++ rejects it."""
    return ctypes.CDLL(str(_compile(name, text, kernels)))


def _compile(name, text, kernels):
    here = Path(__file__).parent
    (folder() / f"{name}.cu").write_text(text, encoding="utf-8")
    lines = ['#include "shim.h"', f'#include "{name}.cu"']
    lines += [f"LAUNCHER({kernel})" for kernel in kernels]
    driver, out = folder() / f"{name}.cpp", folder() / f"{name}.so"
    driver.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [GXX, "-std=c++17", "-O2", "-shared", "-fPIC", "-fno-gnu-unique", "-U_FORTIFY_SOURCE"]
    command += ["-Wall", "-Wno-unknown-pragmas", f"-I{here}", str(driver), "-o", str(out)]
    subprocess.run(command, check=True)
    return out


@cache
def library(name):
    """Return one of the package's source files, compiled once."""
    shared = (_shared or folder()) / f"lib{name}.so"
    if not shared.exists():
        out = _compile(name, cuda.source(name), cuda.kernels(name))
        whole = shared.with_suffix(f".{os.getpid()}")
        shutil.copy(out, whole)
        whole.replace(shared)  # another process may load it at any time
    return ctypes.CDLL(str(shared))


def file_of(kernel):
    return next(name for name in cuda.NAMES if kernel in cuda.kernels(name))


def _argument(given, code):
    if code in POINTERS:
        if given is None:
            return ctypes.c_void_p()
        if given.values.dtype != POINTERS[code]:
            raise TypeError(f"a kernel for {POINTERS[code]} was given {given.values.dtype}")
        return given.pointer
    if isinstance(given, np.generic) and given.dtype != TYPES[code]:
        raise TypeError(f"a kernel that takes {TYPES[code]} was given {given.dtype}")
    kinds = {"i": ctypes.c_int, "l": ctypes.c_longlong, "f": ctypes.c_float, "d": ctypes.c_double}
    return kinds[code](given)


def check_limits(launch):
    """Raise AssertionError where CUDA returns "invalid configuration argument"."""
    for sizes, most in ((launch.grid, MOST_BLOCKS), (launch.block, MOST_THREADS)):
        assert all(0 < n <= limit for n, limit in zip(sizes, most, strict=True)), launch
    assert np.prod(launch.block) <= 1024, launch


def launch_raw(binary, launch, arguments, reversed=False):
    """Run a kernel once on `Guarded` arrays, None and numbers."""
    signature = ctypes.c_char_p.in_dll(binary, f"signature_{launch.kernel}").value.decode()
    check_limits(launch)
    assert len(signature) == len(arguments), f"{launch.kernel} takes {len(signature)} arguments"
    values = [_argument(given, code) for given, code in zip(arguments, signature, strict=True)]
    pointers = (ctypes.c_void_p * len(values))(
        *(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values)
    )
    triple = ctypes.c_int * 3
    failed = getattr(binary, f"launch_{launch.kernel}")(
        triple(*launch.grid), triple(*launch.block), int(reversed), pointers
    )
    assert not failed, f"{launch.kernel}: {FAULTS[failed]}"
    for array in arguments:
        if isinstance(array, Guarded):
            assert array.untouched(), f"{launch.kernel} wrote outside an array"


def run_once(binary, launch, arguments, reversed):
    guarded = []
    for given in arguments:
        if isinstance(given, Out):
            given = Guarded(given.first_value(), at_end=not reversed)
        elif isinstance(given, np.ndarray):
            given = Guarded(given, at_end=not reversed)
        guarded.append(given)
    launch_raw(binary, launch, guarded, reversed)
    for given, array in zip(arguments, guarded, strict=True):
        if isinstance(given, np.ndarray):
            kept = np.array_equal(array.values, given, equal_nan=given.dtype.kind == "f")
            assert kept, f"{launch.kernel} changed an input"
    return [a.values for given, a in zip(arguments, guarded, strict=True) if isinstance(given, Out)]


def run(launch, *arguments, binary=None):
    """Run a kernel and return its output: an array, or a list if there are several `Out`.

    Arrays are passed as copies, None as a null pointer, numbers in the type of the parameter.
    """
    binary = binary or library(file_of(launch.kernel))
    first = run_once(binary, launch, arguments, reversed=False)
    second = run_once(binary, launch, arguments, reversed=True)
    for a, b in zip(first, second, strict=True):
        assert a.tobytes() == b.tobytes(), f"{launch.kernel}: the order of threads matters"
    return first[0] if len(first) == 1 else first
