"""The coordinates of the preconditioned search, by SciPy's fast cosine transform.

The formulas are in `npstyle.maths.precondition`. SciPy is imported when a search begins: painting
in one pass needs the other functions of the engine, and does not wait for it.
"""

from npstyle.engine.threads import worker_count
from npstyle.maths.array import Array

AXES = (0, 1)
"""Height and width."""


def precondition(w: Array, s: Array) -> Array:
    """x = D^T (s w), from coordinates (height, width, 3) and factors (height, width, 1)."""
    from scipy.fft import idctn

    scaled = s * w
    return idctn(scaled, axes=AXES, norm="ortho", overwrite_x=True, workers=worker_count())


def precondition_backward(upstream: Array, s: Array) -> Array:
    """df/dw = s (D df/dx), from df/dx (height, width, 3) and factors (height, width, 1)."""
    from scipy.fft import dctn

    gradient = dctn(upstream, axes=AXES, norm="ortho", workers=worker_count())
    gradient *= s
    return gradient
