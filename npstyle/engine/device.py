"""Where a run computes: on the processor, or on an NVIDIA card through CuPy.

"auto" takes the first card if it works; if not, it says in one line why. CuPy is imported only
where it is installed, so that asking costs nothing elsewhere.

CuPy keeps memory that was let go for the next array of its size (its pool): after the first
evaluation the driver is asked for nothing more. `on_device` lets the pool take what is free when a
run begins and no more, and gives its memory back at the end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from npstyle.engine import threads as backend
from npstyle.engine.cuda import arrays as card
from npstyle.errors import InputError

OLDEST = 70
"""Compute capability from which on the kernels run, as CuPy writes it: 7.0."""

TENSOR_CORES = 80
"""The same for the convolutions on tensor cores."""


@dataclass(frozen=True)
class Device:
    """Where a run computes.

    Attributes
    ----------
    number : int or None
        CUDA's number of the card; None: the processor.
    name : str
        The card's, or "CPU".
    capability : int
        The card's compute capability: 90 is 9.0.
    missing : str
        Why "auto" took the processor.
    """

    number: int | None = None
    name: str = "CPU"
    capability: int = 0
    missing: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a card."""
        return self.number is not None

    def __str__(self) -> str:
        return f"cuda:{self.number}" if self.is_gpu else "cpu"


CPU = Device()


def find_device(asked_for: str = "auto") -> Device:
    """The device that is asked for.

    Parameters
    ----------
    asked_for : "auto", "cpu", "cuda" or "cuda:N"
        "cuda" is the first card.

    Returns
    -------
    Device
        For "auto" without a card that works, the processor; `missing` says why.

    Raises
    ------
    InputError
        If it is none of these, or a card that cannot be had.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,4}))?", asked_for)
    if match is None:
        raise InputError(f"--device {asked_for}: give auto, cpu, cuda, or cuda:N for card N")
    if asked_for == "cpu":
        return CPU
    found = _card(int(match[1] or 0))
    if isinstance(found, Device):
        return found
    if asked_for == "auto":
        return Device(missing=found)
    raise InputError(f"--device {asked_for}: {found}")


def _card(number: int) -> Device | str:
    """A card, or why it cannot be had."""
    if find_spec("cupy") is None:
        return "CuPy is not installed; `pip install 'npstyle[cuda13]'`, or [cuda12], adds it"
    try:
        cuda = card.cupy().cuda
        count = cuda.runtime.getDeviceCount()
    except (ImportError, OSError, RuntimeError) as error:
        return _reason(str(error))
    if number >= count:
        return f"there is no card {number}; CUDA sees {count}, counted from 0"
    name = cuda.runtime.getDeviceProperties(number)["name"].decode()
    capability = int(cuda.Device(number).compute_capability)
    if capability < OLDEST:
        return f"{name} has compute capability {capability / 10}; 7.0 or more is needed"
    try:
        cuda.nvrtc.getVersion()
    except (ImportError, OSError, RuntimeError):
        return (
            "CuPy finds no NVRTC to compile kernels with; `pip install 'npstyle[cuda13]'`, or "
            "[cuda12], brings one"
        )
    return Device(number, name, capability)


def _reason(error: str) -> str:
    """Why CUDA does not start, in a few words."""
    if "cudaErrorInsufficientDriver" in error:
        return "there is no NVIDIA driver, or one too old for this CuPy"
    if "cudaErrorNoDevice" in error:
        return "there is no NVIDIA card"
    return f"CuPy does not start ({error.strip().partition(chr(10))[0]})"


@contextmanager
def on_device(device: Device) -> Iterator[None]:
    """Compute on a device: arrays that are placed on a card are placed on this one."""
    if not device.is_gpu:
        yield
        return
    cupy = card.cupy()
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
    """Bytes of memory that can still be taken where the device computes."""
    if not device.is_gpu:
        return backend.available_memory()
    cupy = card.cupy()
    with cupy.cuda.Device(device.number):
        free: int = cupy.cuda.Device().mem_info[0] + cupy.get_default_memory_pool().free_bytes()
    return free


def held_memory(device: Device) -> int:
    """Bytes of that memory that this process holds now; of a card's, what arrays fill."""
    if not device.is_gpu:
        return backend.held_memory()
    cupy = card.cupy()
    with cupy.cuda.Device(device.number):
        held: int = cupy.get_default_memory_pool().used_bytes()
    return held
