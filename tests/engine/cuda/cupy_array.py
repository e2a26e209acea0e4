"""The stand-in for CuPy's array, and the memory and the recording behind it.

Like CuPy's, the array is no NumPy array. It refuses what CuPy refuses: conversion to a NumPy array
without `asnumpy`, arithmetic with an array of the host, assignment of one, functions that CuPy does
not have. Results have CuPy's layouts: ufuncs return C order, `astype` keeps the order, `reshape`
and `ravel` copy where a view is impossible. Copies count as memory, and are recorded.
"""

import weakref

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

FUNCTIONS = {
    "clip": ("a", "a_min", "a_max", "out"),
    "sum": ("a", "axis", "dtype", "out", "keepdims"),
    "vdot": ("a", "b"),
    "zeros_like": ("a", "dtype", "order", "subok", "shape"),
}
"""NumPy's functions that the package calls on the GPU's arrays, and their parameters in CuPy."""


class Memory:
    """Bytes of the arrays that exist, and their maximum."""

    used = peak = 0

    @classmethod
    def take(cls, size):
        cls.used += size
        cls.peak = max(cls.peak, cls.used)


class Capture:
    """The stream capture in progress: the work recorded so far, or None."""

    works = None


def do(work):
    """Run some work, or record it."""
    if Capture.works is None:
        work()
    else:
        Capture.works.append(work)


def refuse(what):
    if Capture.works is not None:
        raise NotImplementedError(f"{what} during stream capture is not supported")


def plain(given):
    """The NumPy array behind an array; anything else is returned as it is."""
    return given.values if isinstance(given, DeviceArray) else given


def owner(values):
    """The NumPy array that owns the memory of a view."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


def empty(shape, dtype=np.float64, order="C"):
    values = np.empty(shape, dtype, order)
    Memory.take(values.nbytes)
    weakref.finalize(values, Memory.take, -values.nbytes)
    values.fill(np.nan if values.dtype.kind in "fc" else 1)
    return DeviceArray(values)


def copied(values, order="C"):
    """A copy of a NumPy array or of a view behind an array, made when the recorded work runs."""
    made = empty(values.shape, values.dtype, order)
    do(lambda: np.copyto(made.values, values))
    return made


def order_of(values):
    """The order that CuPy's "K" means for this array."""
    return "F" if values.flags.fnc else "C"


def asarray(array, dtype=None, order=None):
    """An array on the GPU. Without an order, one of the host keeps its own, as in CuPy."""
    if isinstance(array, DeviceArray):
        contiguous = order != "C" or array.flags.c_contiguous
        same = contiguous and dtype in (None, array.dtype)
        return array if same else array.astype(dtype or array.dtype, order or "K")
    refuse("a transfer from the host")
    given = np.asarray(array, dtype)
    made = empty(given.shape, given.dtype, order or order_of(given))
    made.values[...] = given
    return made


def computed(function, *values):
    """The result of a function of NumPy arrays, whose shape must not depend on the numbers."""
    with np.errstate(all="ignore"):
        shown = np.asarray(function(*(np.zeros_like(v) if np.ndim(v) else v for v in values)))
    made = empty(shown.shape, shown.dtype)
    do(lambda: np.copyto(made.values, function(*values)))
    return made


class DeviceArray(NDArrayOperatorsMixin):
    """An array on the GPU; `values` is the NumPy array behind it."""

    __cuda_array_interface__ = None

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype, self.size = values.shape, values.dtype, values.size
        self.ndim, self.nbytes, self.flags = values.ndim, values.nbytes, values.flags

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if method != "__call__" or ufunc.signature is not None or options:
            return NotImplemented
        for given in (*inputs, *(out or ())):  # CuPy rejects arrays of the host
            if not isinstance(given, DeviceArray) and np.ndim(given):
                return NotImplemented
        values = [plain(given) for given in inputs]
        if out is None:
            small = [value.ravel()[:1] if np.ndim(value) else value for value in values]
            with np.errstate(all="ignore"):
                dtype = ufunc(*small).dtype
            out = (empty(np.broadcast_shapes(*map(np.shape, values)), dtype),)
        do(lambda: ufunc(*values, out=plain(out[0])))
        return out[0]

    def __array_function__(self, function, types, arguments, options):
        taken = FUNCTIONS.get(function.__name__, ())
        given = (*taken[: len(arguments)], *options)
        if not set(given) <= set(taken) or len(given) < len(arguments):
            return NotImplemented
        assert all(t is DeviceArray for t in types), f"{function.__name__} of an array of the host"
        if function is np.zeros_like:
            return zeros_like(*arguments, **options)
        return computed(lambda *values: function(*values, **options), *map(plain, arguments))

    def __matmul__(self, other):
        refuse("cuBLAS")
        return computed(np.matmul, self.values, other.values)

    def __getitem__(self, key):
        whole = key if isinstance(key, tuple) else (key,)
        return DeviceArray(self.values[whole if Ellipsis in whole else (*whole, ...)])

    def __setitem__(self, key, value):
        if not isinstance(value, DeviceArray) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        do(lambda: self.values.__setitem__(key, plain(value)))

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __float__(self):
        return float(asnumpy(self))

    def __bool__(self):
        return bool(asnumpy(self))

    @property
    def T(self):  # noqa: N802
        return DeviceArray(self.values.T)

    def transpose(self, *axes):
        return DeviceArray(self.values.transpose(*axes))

    def reshape(self, *shape):
        values = self.values.reshape(*shape)
        if not self.size or np.may_share_memory(values, self.values):
            return DeviceArray(values)
        return copied(self.values).reshape(*shape)

    def ravel(self):
        return self.reshape(-1)

    def astype(self, dtype, order="K", copy=True):
        order = order_of(self.values) if order == "K" else order
        if not copy and self.dtype == dtype:
            return self
        made = empty(self.shape, dtype, order)
        do(lambda: np.copyto(made.values, self.values, casting="unsafe"))
        return made

    def copy(self):
        return copied(self.values)

    def sum(self, axis=None):
        return computed(lambda values: np.sum(values, axis=axis), self.values)

    def min(self):
        return computed(np.min, self.values)

    def max(self):
        return computed(np.max, self.values)


def zeros_like(array, dtype=None, order="K", subok=None, shape=None):
    assert order == "K"
    shape = array.shape if shape is None else shape
    same = np.size(shape) == array.ndim
    made = empty(shape, dtype or array.dtype, order_of(array.values) if same else "C")
    made[...] = 0
    return made


def asnumpy(array):
    refuse("a transfer to the host")
    assert isinstance(array, DeviceArray)
    return array.values.copy(order_of(array.values))


def concatenate(arrays):
    return computed(lambda *values: np.concatenate(values), *(array.values for array in arrays))


def dot(left, right, out):
    refuse("cuBLAS")
    assert out.flags.c_contiguous
    assert left.dtype == right.dtype == out.dtype
    np.dot(left.values, right.values, out=out.values)
