"""A stand-in for CuPy where there is no GPU: NumPy arrays, and kernels run by the shim.

It takes its arguments as CuPy's RawModule does, so it detects a launcher that passes a number of
the wrong type, a view, or a wrong null pointer. While a stream is recorded (CUDA's stream capture),
nothing is computed: kernels and arithmetic run when the graph is launched. Copying a number to the
host is then an error, and so is a matrix product, as in CuPy. The stand-in also counts the memory
of the arrays that exist.

It shows that launchers call the kernels correctly. It does not test CuPy itself.
"""

import weakref
from contextlib import contextmanager
from types import MappingProxyType, SimpleNamespace

import numpy as np
import scipy.fft

from npstyle.engine.cuda import launch as kernels
from tests.engine.cuda import shim

NUMBERS = {np.dtype(np.int32): "i", np.dtype(np.int64): "l", np.dtype(np.float32): "f"}
NUMBERS |= {np.dtype(np.float64): "d"}

GPUS, FREE, TOTAL = 2, 8 << 30, 16 << 30
"""What the stand-in reports: number of GPUs, and bytes of free and of total memory of each."""

recorded = None
"""Work recorded by the stream capture in progress, if there is one."""


class Memory:
    """Bytes of the arrays that exist, and their maximum."""

    used = peak = 0

    @classmethod
    def take(cls, size):
        cls.used += size
        cls.peak = max(cls.peak, cls.used)


def do(work):
    """Run some work, or record it."""
    if recorded is None:
        work()
    else:
        recorded.append(work)


def refuse(what):
    if recorded is not None:
        raise NotImplementedError(f"{what} during stream capture is not supported")


# ------------------------------------------------------------------------- arrays


def plain(given):
    """View an array as a plain NumPy array."""
    return given.view(np.ndarray) if isinstance(given, DeviceArray) else given


class DeviceArray(np.ndarray):
    """An array on the GPU, with the attribute that marks CuPy's arrays."""

    __cuda_array_interface__ = None

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if method != "__call__" or ufunc is np.matmul:
            refuse(f"{ufunc.__name__}.{method}")
            result = getattr(ufunc, method)(*map(plain, inputs), **options)
            return np.asarray(result).view(DeviceArray)
        for given in inputs:  # CuPy rejects arrays of the host in arithmetic
            assert isinstance(given, DeviceArray) or np.ndim(given) == 0, f"{ufunc} of {given!r}"
        values = [plain(given) for given in inputs]
        if out is None:
            small = [value.ravel()[:1] if np.ndim(value) else value for value in values]
            with np.errstate(all="ignore"):
                dtype = ufunc(*small, **options).dtype
            out = (empty(np.broadcast_shapes(*map(np.shape, values)), dtype),)
        do(lambda: ufunc(*values, out=plain(out[0]), **options))
        return out[0]

    def __array_function__(self, function, types, arguments, options):
        refuse(function.__name__)
        return asarray(function(*map(plain, arguments), **options))

    def __setitem__(self, key, value):
        do(lambda: np.ndarray.__setitem__(self.view(np.ndarray), key, plain(value)))

    def __float__(self):
        refuse("a transfer to the host")
        return float(self.view(np.ndarray))

    def copy(self):
        out = empty(self.shape, self.dtype)
        out[...] = self
        return out


def empty(shape, dtype):
    values = np.empty(shape, dtype)
    array = values.view(DeviceArray)
    Memory.take(values.nbytes)
    weakref.finalize(values, Memory.take, -values.nbytes)
    plain(array).fill(np.nan if array.dtype.kind == "f" else 1)
    return array


def asarray(array, dtype=None, order=None):
    placed = isinstance(array, DeviceArray) and dtype in (None, array.dtype)
    if placed and (order != "C" or array.flags.c_contiguous):
        return array
    refuse("a transfer from the host")
    made = empty(np.shape(array), dtype or np.asarray(plain(array)).dtype)
    plain(made)[...] = plain(array)
    return made


def zeros_like(array):
    made = empty(array.shape, array.dtype)
    made[...] = 0
    return made


def asnumpy(array):
    refuse("a transfer to the host")
    assert isinstance(array, DeviceArray)
    return np.array(array, subok=False)


def concatenate(arrays):
    return asarray(np.concatenate([plain(array) for array in arrays]))


def dot(left, right, out):
    refuse("cuBLAS")
    assert plain(out).flags.c_contiguous
    np.dot(plain(left), plain(right), out=plain(out))


def transform(function):
    def on_device(x, axes, norm, overwrite_x=False):
        refuse("cuFFT")
        assert isinstance(x, DeviceArray)
        return asarray(function(plain(x), axes=axes, norm=norm))

    return on_device


fft = SimpleNamespace(dctn=transform(scipy.fft.dctn), idctn=transform(scipy.fft.idctn))
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
                if isinstance(given, np.ndarray):
                    assert isinstance(given, DeviceArray), f"{kernel} was given a host array"
                    assert given.flags.c_contiguous
                elif isinstance(given, np.uint64):
                    assert given == 0
                else:
                    assert isinstance(given, np.generic), f"{kernel} was given {type(given)}"
            do(lambda: run(binary, launch, arguments))

        return function


def run(binary, launch, arguments):
    guarded, owners = [], []
    for given in arguments:
        if isinstance(given, np.ndarray):
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
        global recorded
        assert self.non_blocking, "only a non-blocking stream can be recorded"
        assert Stream.current is self
        assert recorded is None
        recorded = []

    def end_capture(self):
        global recorded
        works, recorded = recorded, None
        return SimpleNamespace(launch=lambda: [work() for work in works])

    def is_capturing(self):
        return recorded is not None


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
