"""Every CUDA kernel compiles for every card it is meant for, and keeps its values in registers.

A spill to local memory is slow and silent; ptxas says so only with -v. Registers that keep a second
block off a multiprocessor are as silent: the tensor-core and the Winograd kernels name how many
blocks they want, and then too many registers are spills.
"""

import os
import re
import shutil
import subprocess
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from npstyle.ops import cuda

ARCHITECTURES = (70, 80, 86, 89, 90, 120)

SPILLS = {}
"""Kernels that may spill, each with the reason; none does."""

SHARED_MEMORY = 48 << 10
"""Bytes of shared memory a block may declare without asking the driver for more."""


@cache
def find_nvcc():
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or ""
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.path.join(home, "bin"))


pytestmark = pytest.mark.skipif(find_nvcc() is None, reason="no nvcc here to compile kernels with")


@cache
def supported():
    listed = subprocess.run(
        [find_nvcc(), "--list-gpu-code"], capture_output=True, text=True, check=True
    )
    return tuple(n for n in ARCHITECTURES if f"sm_{n}" in listed.stdout.split())


@cache
def version():
    text = subprocess.run([find_nvcc(), "--version"], capture_output=True, text=True).stdout
    return re.search(r"release ([\d.]+)", text)[1]


@cache
def resources(name, folder):
    """What ptxas says of a chapter: {(kernel, architecture): (registers, shared, spilled)}."""
    path = Path(folder) / f"{name}.cu"
    path.write_text(cuda.source(name), encoding="utf-8")
    codes = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in supported()]
    command = [find_nvcc(), "-std=c++17", "-fatbin", "-Xptxas", "-v", "--threads", "2", *codes]
    command += [
        "-Werror",
        "all-warnings",
        "-Wno-deprecated-gpu-targets",
        str(path),
        "-o",
        str(path.with_suffix(".fatbin")),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = {}
    for part in run.stderr.split("Compiling entry function '")[1:]:
        kernel, architecture = re.match(r"(\w+)' for 'sm_(\d+)'", part).groups()
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", part)))
        shared = re.search(r"(\d+) bytes smem", part)
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        found[kernel, int(architecture)] = registers, int(shared[1]) if shared else 0, spilled
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", cuda.NAMES)
def test_compiles_without_spills(name, architecture, folder):
    if architecture not in supported():
        pytest.skip(f"nvcc {version()} does not make code for sm_{architecture}")
    found = {k: v for (k, n), v in resources(name, folder).items() if n == architecture}
    assert sorted(found) == sorted(cuda.kernels(name))
    for kernel, (_, shared, spilled) in found.items():
        assert not spilled or kernel in SPILLS, f"{kernel} spills {spilled} bytes"
        assert shared <= SHARED_MEMORY, kernel


def test_every_source_is_in_the_table():
    there = {path.stem for path in Path(cuda.__file__).parent.glob("*.cu")}
    assert there == set(cuda.NAMES)


@pytest.mark.parametrize("name", cuda.NAMES)
def test_opens_with_its_twin_and_its_launch(name):
    lines = cuda.source(name).splitlines()
    head = "\n".join(takewhile(lambda line: line.startswith("//"), lines))
    for word in ("NumPy twin", "npstyle/", "Layout:", "Launch:"):
        assert word in head, word
