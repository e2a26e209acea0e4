"""A stand-in for CuPy where there is no card: NumPy's arrays, kernels by the shim.

It takes the arguments as CuPy's RawModule does, so a launcher that hands over a number of the wrong
type, a view, or a null pointer in the wrong way is found out. It shows that launchers call the
kernels as these want to be called; nothing of CuPy itself is tested.
"""

from types import MappingProxyType, SimpleNamespace

import numpy as np

from npstyle.ops import cuda as kernels
from tests.cuda import shim

NUMBERS = {np.dtype(np.int32): "i", np.dtype(np.int64): "l", np.dtype(np.float32): "f"}
NUMBERS |= {np.dtype(np.float64): "d"}

matmul = np.matmul


CARDS, FREE, TOTAL = 2, 8 << 30, 16 << 30
"""What the stand-in says of itself: cards, and bytes of memory of each."""


class Device:
    """One of the cards; all that is placed lies in the same memory."""

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


class Pool:
    """CuPy's memory pool, which here keeps nothing."""

    limit = 0

    def get_limit(self):
        return self.limit

    def set_limit(self, size):
        self.limit = size

    def total_bytes(self):
        return 0

    free_bytes = used_bytes = total_bytes

    def free_all_blocks(self):
        pass


pool = Pool()


def get_default_memory_pool():
    return pool


cuda = SimpleNamespace(
    Device=Device,
    runtime=SimpleNamespace(
        getDevice=lambda: Device.current,
        getDeviceCount=lambda: CARDS,
        getDeviceProperties=lambda number: {"name": b"Stand-in"},
    ),
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
)


class DeviceArray(np.ndarray):
    """What lies on the card: it says so, as CuPy's arrays do."""

    __cuda_array_interface__ = None


def empty(shape, dtype):
    array = np.empty(shape, dtype).view(DeviceArray)
    array.fill(np.nan if array.dtype.kind == "f" else 1)
    return array


def asarray(array, dtype=None, order=None):
    placed = isinstance(array, DeviceArray) and dtype in (None, array.dtype)
    if placed and (order != "C" or array.flags.c_contiguous):
        return array
    return np.array(array, dtype, order=order or "K", subok=False).view(DeviceArray)


def asnumpy(array):
    assert isinstance(array, DeviceArray)
    return np.array(array, subok=False)


class RawModule:
    def __init__(self, code, options):
        assert options == ("-std=c++17",)
        (self.chapter,) = (name for name in kernels.NAMES if kernels.source(name) == code)

    def get_function(self, kernel):
        binary = shim.library(self.chapter)

        def function(grid, block, arguments):
            guarded, owners = [], []
            for given in arguments:
                if isinstance(given, np.ndarray):
                    assert given.flags.c_contiguous
                    guarded.append(
                        shim.Guarded(given.view(np.uint8) if given.dtype == bool else given)
                    )
                    owners.append((given, guarded[-1]))
                elif isinstance(given, np.uint64):
                    assert given == 0
                    guarded.append(None)
                else:
                    assert isinstance(given, np.generic), f"{kernel} was given {type(given)}"
                    guarded.append(given)
            shim.launch_raw(binary, kernels.Launch(kernel, grid, block), guarded)
            for given, array in owners:
                given[...] = array.values.view(given.dtype)

        return function
