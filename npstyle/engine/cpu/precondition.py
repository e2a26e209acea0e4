"""The coordinates of the preconditioned search, by SciPy's fast cosine transform.

The formulas are in `npstyle.maths.precondition`. SciPy is imported when a search begins: painting
in one pass needs the other functions of the engine, and does not wait for it.
"""

import numpy as np

from npstyle.engine.threads import worker_count
from npstyle.maths.array import Array
from npstyle.maths.precondition import dct_matrix

AXES = (0, 1)
"""Height and width. The product with a small matrix transforms the channels faster than SciPy."""


def precondition(w: Array, s: Array) -> Array:
    """x = D^T (s w), from coordinates w and factors s, both (height, width, channels)."""
    from scipy.fft import idctn

    scaled = s * w
    mixed = np.matmul(scaled, dct_matrix(w.shape[2]).astype(w.dtype))
    return idctn(mixed, axes=AXES, norm="ortho", overwrite_x=True, workers=worker_count())


def precondition_backward(upstream: Array, s: Array) -> Array:
    """dL/dw = s (D dL/dx), from dL/dx and factors s, both (height, width, channels)."""
    from scipy.fft import dctn

    mixed = np.matmul(upstream, dct_matrix(upstream.shape[2]).T.astype(upstream.dtype))
    gradient = dctn(mixed, axes=AXES, norm="ortho", overwrite_x=True, workers=worker_count())
    gradient *= s
    return gradient
