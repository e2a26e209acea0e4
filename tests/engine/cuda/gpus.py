"""CuPy where it finds a GPU, otherwise the stand-in, which runs the kernels on the CPU.

If the environment variable NPSTYLE_TESTS_ON_GPU is set, there is no stand-in: without CuPy and a
GPU these tests are errors.
"""

import os

import pytest

from npstyle.engine.cuda.tensor_cores import has_tensor_cores
from tests.engine.cuda import cupy as stand_in
from tests.engine.cuda import shim


def find_cupy():
    """Return CuPy if it is installed and finds a GPU."""
    try:
        import cupy

        cupy.cuda.runtime.getDeviceProperties(0)
    except Exception:  # no CuPy, no driver, or no device
        if os.environ.get("NPSTYLE_TESTS_ON_GPU"):
            raise
        return None
    return cupy


CUPY = find_cupy()
needed = [
    pytest.mark.skipif(CUPY is None and shim.GXX is None, reason=shim.REASON),
    pytest.mark.usefixtures("gpus"),
    # On a GPU only test_replay.py fails if CuPy cannot record.
    pytest.mark.filterwarnings(f"{'default' if CUPY else 'error'}:the GPU's kernels are launched"),
]
"""For `pytestmark`."""


needs_tensor_cores = pytest.mark.skipif(
    CUPY is not None and not has_tensor_cores(),
    reason="the GPU has no tensor cores that the kernels can use",
)


def to(array):
    """Copy an array to the GPU."""
    return None if array is None else (CUPY or stand_in).asarray(array)


def back(array):
    """Copy an array to the host."""
    return (CUPY or stand_in).asnumpy(array)
