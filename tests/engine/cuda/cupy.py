"""A stand-in for CuPy where there is no GPU: NumPy arrays, and kernels run by the shim.

Its array is `tests.engine.cuda.cupy_array.DeviceArray`. It takes its arguments as CuPy's RawModule
does, so it detects a launcher that passes a number or an array of the wrong type, a misaligned
view, or a wrong null pointer. While a stream is recorded (CUDA's stream capture), nothing is
computed: kernels and arithmetic run when the graph is launched. Copying a number to the host is
then an error, and so is a matrix product, as in CuPy. The stand-in also counts the memory of the
arrays that exist.

It shows that launchers call the kernels correctly. It does not test CuPy itself.
"""

from contextlib import contextmanager
from types import MappingProxyType, SimpleNamespace

import numpy as np
import scipy.fft

from npstyle.engine.cuda import launch as kernels
from tests.engine.cuda import shim
from tests.engine.cuda.cupy_array import (
    Capture,
    DeviceArray,
    Memory,
    asarray,
    asnumpy,
    concatenate,
    do,
    dot,
    empty,
    owner,
    plain,
    refuse,
    zeros_like,
)

__all__ = ["asarray", "asnumpy", "concatenate", "dot", "empty", "zeros_like"]

GPUS, FREE, TOTAL = 2, 8 << 30, 16 << 30
"""What the stand-in reports: number of GPUs, and bytes of free and of total memory of each."""

VECTOR_LOADS = ("conv_tensor", "winograd")
"""Sources whose kernels read 16 bytes at a time, so that their arrays must begin at multiples."""


def dctn(x, axes, norm, overwrite_x=False):
    """CuPy's cosine transform: the result is the real part of an array of complex numbers."""
    refuse("cuFFT")
    assert isinstance(x, DeviceArray)
    made = empty(x.shape, np.result_type(x.dtype, np.complex64))
    made.values.real = scipy.fft.dctn(x.values, axes=axes, norm=norm)
    return DeviceArray(made.values.real)


def idctn(x, axes, norm, overwrite_x=False):
    refuse("cuFFT")
    made = empty(x.shape, x.dtype)
    made.values[...] = scipy.fft.idctn(x.values, axes=axes, norm=norm)
    return made


fft = SimpleNamespace(dctn=dctn, idctn=idctn)
"""In place of cupyx.scipy.fft."""


# ------------------------------------------------------------------------- kernels


class RawModule:
    def __init__(self, code, options):
        assert options == ("-std=c++17",)
        (self.file,) = (name for name in kernels.NAMES if kernels.source(name) == code)

    def get_function(self, kernel):
        binary = shim.library(self.file)

        def function(grid, block, arguments):
            launch = kernels.Launch(kernel, grid, block)
            for given in arguments:
                if isinstance(given, DeviceArray):
                    first = given.values.ctypes.data - owner(given.values).ctypes.data
                    assert first % 16 == 0 or self.file not in VECTOR_LOADS, "misaligned"
                elif isinstance(given, np.uint64):
                    assert given == 0
                else:
                    assert isinstance(given, np.generic), f"{kernel} was given {type(given)}"
            do(lambda: run(binary, launch, arguments))

        return function


def run(binary, launch, arguments):
    guarded, owners = [], []
    for given in arguments:
        if isinstance(given, DeviceArray):
            values = plain(given)
            guarded.append(shim.Guarded(values.view(np.uint8) if values.dtype == bool else values))
            owners.append((values, guarded[-1]))
        else:
            guarded.append(None if isinstance(given, np.uint64) else given)
    shim.launch_raw(binary, launch, guarded)
    for values, array in owners:
        values[...] = array.values.view(values.dtype)


# ------------------------------------------------------------------------- the GPU


class Device:
    """One of the GPUs; they share one memory."""

    current = 0
    compute_capability = "90"
    attributes = MappingProxyType({"MultiProcessorCount": 4})
    mem_info = FREE, TOTAL

    def __init__(self, number=None):
        self.id = Device.current if number is None else number

    def __enter__(self):
        self.before, Device.current = Device.current, self.id

    def __exit__(self, *error):
        Device.current = self.before


class MemoryPool:
    """CuPy's memory pool, which keeps nothing here."""

    limit = 0

    def malloc(self, size):
        raise AssertionError("the stand-in takes no arrays from a pool")

    def get_limit(self):
        return self.limit

    def set_limit(self, size):
        self.limit = size

    def total_bytes(self):
        return 0

    free_bytes = total_bytes

    def used_bytes(self):
        return Memory.used

    def free_all_blocks(self):
        pass


pool = MemoryPool()


def get_default_memory_pool():
    return pool


class Stream:
    current = None

    def __init__(self, non_blocking=False):
        self.non_blocking = non_blocking

    def __enter__(self):
        self.before, Stream.current = Stream.current, self

    def __exit__(self, *error):
        Stream.current = self.before

    def synchronize(self):
        refuse("waiting")

    def begin_capture(self):
        assert self.non_blocking, "only a non-blocking stream can be recorded"
        assert Stream.current is self
        assert Capture.works is None
        Capture.works = []

    def end_capture(self):
        works, Capture.works = Capture.works, None
        return SimpleNamespace(launch=lambda: [work() for work in works])

    def is_capturing(self):
        return Capture.works is not None


@contextmanager
def using_allocator(malloc):
    yield


cuda = SimpleNamespace(
    Device=Device,
    MemoryPool=MemoryPool,
    Stream=Stream,
    get_current_stream=lambda: Stream.current or Stream(),
    using_allocator=using_allocator,
    runtime=SimpleNamespace(
        getDevice=lambda: Device.current,
        getDeviceCount=lambda: GPUS,
        getDeviceProperties=lambda number: {"name": b"Stand-in"},
    ),
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
)
