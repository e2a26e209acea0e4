"""CuPy where it finds a card; elsewhere its stand-in, which runs the kernels on the CPU."""

import pytest

from tests.engine.cuda import cupy as stand_in
from tests.engine.cuda import shim


def find_cupy():
    """CuPy, if it is installed and finds a card."""
    try:
        import cupy

        return cupy if cupy.cuda.runtime.getDeviceCount() > 0 else None
    except Exception:  # no CuPy, no driver, no device: all the same here
        return None


CUPY = find_cupy()
needed = [
    pytest.mark.skipif(CUPY is None and shim.GXX is None, reason=shim.REASON),
    pytest.mark.usefixtures("cards"),
    # On a card only test_replay.py is to fail if CuPy records nothing.
    pytest.mark.filterwarnings(f"{'default' if CUPY else 'error'}:the GPU's kernels are launched"),
]
"""For `pytestmark`."""


def to(array):
    """A copy on the card."""
    return None if array is None else (CUPY or stand_in).asarray(array)


def back(array):
    return (CUPY or stand_in).asnumpy(array)
