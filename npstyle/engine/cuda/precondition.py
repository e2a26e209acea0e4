"""The coordinates of the preconditioned search, by CuPy's cosine transform (cuFFT).

The formulas are in `npstyle.maths.precondition`.
"""

from importlib import import_module

from npstyle.maths.array import Array

AXES = (0, 1, 2)
"""Height, width and channels."""


def precondition(w: Array, s: Array) -> Array:
    """x = D^T (s w), from coordinates w and factors s, both (height, width, channels)."""
    fft = import_module("cupyx.scipy.fft")
    return fft.idctn(s * w, axes=AXES, norm="ortho", overwrite_x=True)


def precondition_backward(upstream: Array, s: Array) -> Array:
    """dL/dw = s (D dL/dx), from dL/dx and factors s, both (height, width, channels)."""
    fft = import_module("cupyx.scipy.fft")
    gradient = fft.dctn(upstream, axes=AXES, norm="ortho")
    gradient *= s
    return gradient
