"""The device of a run: the CPU, or an NVIDIA GPU through CuPy.

"auto" takes the first GPU if it works. Otherwise it takes the CPU and records the reason in one
line. CuPy is imported only where it is installed.

CuPy keeps freed memory in a pool for the next array of that size, so after the first evaluation it
needs no more from the driver. `on_device` limits the pool to the memory that is free
when a run begins, and releases it at the end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from npstyle.engine import cpu, machine
from npstyle.engine.cuda import arrays
from npstyle.errors import InputError

OLDEST = 70
"""Lowest compute capability that the kernels support, times 10."""

OLDEST_IN_CUDA_13 = 75
"""The same where CUDA 13 compiles them: it has dropped Volta."""


@dataclass(frozen=True)
class Device:
    """A CPU or a GPU.

    Attributes
    ----------
    number : int or None
        CUDA's number of the GPU; None for the CPU.
    name : str
        The GPU's name, or "CPU".
    capability : int
        The GPU's compute capability times 10: 90 is 9.0.
    missing : str
        Why "auto" took the CPU.
    """

    number: int | None = None
    name: str = "CPU"
    capability: int = 0
    missing: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.number is not None

    def __str__(self) -> str:
        return f"cuda:{self.number}" if self.is_gpu else "cpu"


CPU = Device()

COMPILED = "npstyle.engine.cpu.compiled"
"""The engine on the CPU with compiled loops, which needs Numba."""


def engine_of(device: Device, fast: bool = False) -> ModuleType:
    """Return the engine that computes on a device.

    Parameters
    ----------
    device : Device
    fast : bool
        Whether it is for the fast route. On the CPU that is the engine with compiled loops, if
        Numba is installed and works. It is imported here, which takes a second, and the first time
        about ten, because the loops are compiled then.
    """
    if device.is_gpu:
        return import_module("npstyle.engine.cuda")
    return import_module(COMPILED) if fast and not missing_loops() else cpu


def missing_loops() -> str:
    """Return why the CPU has no compiled loops; an empty text if it has them."""
    if find_spec("numba") is None:
        return "`pip install 'npstyle[fast]'` makes it about 1.4 times as fast"
    try:
        import_module(COMPILED)
    except Exception as error:  # an installation can be broken in any way
        return f"no compiled loops: Numba does not start ({_first_line(error)})"
    return ""


def find_device(requested: str = "auto") -> Device:
    """Find the requested device.

    Parameters
    ----------
    requested : "auto", "cpu", "cuda" or "cuda:N"
        "cuda" is the first GPU.

    Returns
    -------
    Device
        For "auto" without a working GPU, the CPU; `missing` says why.

    Raises
    ------
    InputError
        If the request is none of these, or the GPU is not available.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,4}))?", requested)
    if match is None:
        raise InputError(f"--device {requested}: give auto, cpu, cuda, or cuda:N for GPU N")
    if requested == "cpu":
        return CPU
    found = _gpu(int(match[1] or 0))
    if isinstance(found, Device):
        return found
    if requested == "auto":
        return Device(missing=found)
    raise InputError(f"--device {requested}: {found}")


def _gpu(number: int) -> Device | str:
    """A GPU, or why it is not available."""
    if find_spec("cupy") is None:
        return "CuPy is not installed; `pip install 'npstyle[cuda13]'`, or [cuda12], adds it"
    try:
        cuda = arrays.cupy().cuda
        count = cuda.runtime.getDeviceCount()
        if number < count:
            name = cuda.runtime.getDeviceProperties(number)["name"].decode()
            capability = int(cuda.Device(number).compute_capability)
    except Exception as error:  # an installation can be broken in any way
        return _reason(error)
    if number >= count:
        return f"there is no GPU {number}; CUDA sees {count}, counted from 0"
    if capability < OLDEST:
        return f"{name} has compute capability {capability / 10}; 7.0 or more is needed"
    try:
        version = cuda.nvrtc.getVersion()
    except Exception:
        return (
            "CuPy finds no NVRTC to compile kernels with; `pip install 'npstyle[cuda13]'`, or "
            "[cuda12], brings one"
        )
    if version >= (13, 0) and capability < OLDEST_IN_CUDA_13:
        return (
            f"CUDA 13 compiles no kernels for {name}; replace CuPy by that of CUDA 12, "
            "npstyle[cuda12]"
        )
    return Device(number, name, capability)


def _reason(error: Exception) -> str:
    """Why CUDA does not start, in a few words."""
    if "cudaErrorInsufficientDriver" in str(error):
        return "there is no NVIDIA driver, or one too old for this CuPy"
    if "cudaErrorNoDevice" in str(error):
        return "there is no NVIDIA GPU"
    return f"CuPy does not start ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    """The first line of an exception's text, or its name if there is none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def on_device(device: Device) -> Iterator[None]:
    """Compute on a device: inside this context new GPU arrays are placed on this GPU."""
    if not device.is_gpu:
        yield
        return
    cupy = arrays.cupy()
    with cupy.cuda.Device(device.number):
        pool = cupy.get_default_memory_pool()
        before = pool.get_limit()
        pool.set_limit(size=pool.total_bytes() + cupy.cuda.Device().mem_info[0])
        try:
            yield
        finally:
            pool.set_limit(size=before)
            pool.free_all_blocks()


def free_memory(device: Device) -> int:
    """Return the device's memory that can still be taken, in bytes."""
    if not device.is_gpu:
        return machine.available_memory()
    cupy = arrays.cupy()
    with cupy.cuda.Device(device.number):
        free: int = cupy.cuda.Device().mem_info[0] + cupy.get_default_memory_pool().free_bytes()
    return free


def held_memory(device: Device) -> int:
    """Return the device's memory that this process holds, in bytes; on a GPU by its arrays."""
    if not device.is_gpu:
        return machine.held_memory()
    cupy = arrays.cupy()
    with cupy.cuda.Device(device.number):
        held: int = cupy.get_default_memory_pool().used_bytes()
    return held
