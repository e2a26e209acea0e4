"""Every CUDA kernel compiles for every supported GPU, and keeps its values in registers.

A spill to local memory is slow, and ptxas reports it only with -v. Too many registers, which
prevent a second block on a multiprocessor, are not reported either. The tensor-core and the
Winograd kernels declare how many blocks they need, so for them too many registers become spills.
"""

import ctypes
import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import pytest

from npstyle.engine.cuda import launch as cuda

ARCHITECTURES = (70, 75, 80, 86, 89, 90, 120)

OPTIONS = ("-std=c++17", "-ftz=true")
"""Those of the package, and the one that CuPy adds: float32 has no subnormal numbers."""

SPILLS = {}
"""Kernels that may spill registers, each with the reason; there are none."""

SHARED_MEMORY = 48 << 10
"""Bytes of shared memory that a block may declare without a driver attribute."""


@cache
def find_nvcc():
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or ""
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.path.join(home, "bin"))


pytestmark = pytest.mark.skipif(find_nvcc() is None, reason="compiling the kernels needs nvcc")


@cache
def supported():
    listed = subprocess.run(
        [find_nvcc(), "--list-gpu-code"], capture_output=True, text=True, check=True
    )
    return tuple(n for n in ARCHITECTURES if f"sm_{n}" in listed.stdout.split())


@cache
def find_nvrtc():
    """Find CuPy's compiler of CUDA 12, which supports the GPUs that nvcc 13 has dropped."""
    spec = find_spec("nvidia")
    if spec is None:
        return None
    folders = [Path(place) / "cuda_nvrtc/lib" for place in spec.submodule_search_locations or ()]
    return next((path for folder in folders for path in folder.glob("libnvrtc.so.12")), None)


def log_of_nvrtc(name, architecture):
    """Return NVRTC's log of a source file for one architecture."""
    library = ctypes.CDLL(str(find_nvrtc()))
    program, length = ctypes.c_void_p(), ctypes.c_size_t()
    source = cuda.source(name).encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, None, 0, None, None) == 0
    options = *OPTIONS, f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(length))
    log = ctypes.create_string_buffer(length.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    assert not failed, log.value.decode()
    return log.value.decode()


@cache
def resources(name, folder):
    """Return ptxas's numbers: {(kernel, architecture): (registers, shared, spilled)}."""
    found = parse_log(log_of_nvcc(name, folder))
    for architecture in set(ARCHITECTURES) - set(supported()):
        if find_nvrtc() is not None:
            found |= parse_log(log_of_nvrtc(name, architecture))
    return found


def log_of_nvcc(name, folder):
    """Return nvcc's log of a source file for all supported architectures."""
    path = Path(folder) / f"{name}.cu"
    path.write_text(cuda.source(name), encoding="utf-8")
    codes = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in supported()]
    command = [find_nvcc(), *OPTIONS, "-fatbin", "-Xptxas", "-v", "--threads", "2", *codes]
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
    return run.stderr


def parse_log(log):
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        kernel, architecture = re.match(r"(\w+)' for 'sm_(\d+)'", part).groups()
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", part)))
        shared = re.search(r"(\d+) bytes smem", part)
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        found[kernel, int(architecture)] = registers, int(shared[1]) if shared else 0, spilled
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("name", cuda.NAMES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_kernel_compiles_without_spills(name, architecture, folder):
    if architecture not in supported() and find_nvrtc() is None:
        pytest.skip(f"nvcc makes no code for sm_{architecture}, and CUDA 12's NVRTC is missing")
    found = {k: v for (k, n), v in resources(name, folder).items() if n == architecture}
    assert sorted(found) == sorted(cuda.kernels(name))
    for kernel, (_, shared, spilled) in found.items():
        assert not spilled or kernel in SPILLS, f"{kernel} spills {spilled} bytes"
        assert shared <= SHARED_MEMORY, kernel


def test_every_source_is_in_the_table():
    sources = {path.stem for path in Path(cuda.__file__).parent.glob("*.cu")}
    assert sources == set(cuda.NAMES)


@pytest.mark.parametrize("name", cuda.NAMES)
def test_each_source_names_its_twin_its_layout_and_its_launch(name):
    lines = cuda.source(name).splitlines()
    head = "\n".join(takewhile(lambda line: line.startswith("//"), lines))
    for word in ("NumPy twin", "npstyle/", "Layout:", "Launch:"):
        assert word in head, word
