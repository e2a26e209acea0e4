"""Memory that the search holds, for the estimate of a run's peak memory.

The constants count the float64 images alive at the same time. Tests compare them with the memory
that a search allocates.
"""

import math
from types import ModuleType

from npstyle.engine import cpu
from npstyle.search import Optimizer
from npstyle.search.lbfgs import CORRECTIONS, basis_shape

SCIPY_VECTORS = 21
"""float64 images under SciPy's L-BFGS-B besides the history: x, gradients, work arrays, copies."""

LEAN_VECTORS = 11
"""float64 images under `npstyle.search.lbfgs` on the CPU besides the history and the gradient in
its matrix B: x, the direction, z, the image evaluated, the best image, gradients."""

GPU_VECTORS = 12
"""float64 images on a GPU besides the matrix B of L-BFGS, or m, v and their temporaries under Adam:
x, the direction, images and gradients on the way to the objective and back."""

ADAM_VECTORS = 11
"""float64 images under Adam on the CPU: x, g, m, v, their temporaries, the best image."""


def vectors_held(
    optimizer: Optimizer,
    iterations: int,
    history: int | None = None,
    *,
    engine: ModuleType = cpu,
) -> int:
    """Count the float64 images that `optimize` holds at once.

    Parameters
    ----------
    optimizer : "lbfgs" or "adam"
    iterations : int
        Steps to take. SciPy's history grows with them, up to its full length.
    history : int, optional
        Steps that a float32 history remembers. The history itself is not counted here; its bytes
        are those of `history_bytes`. If not given, the history is float64 and counted.
    engine : module
        Where the search runs: `npstyle.engine.cpu` or `npstyle.engine.cuda`.
    """
    if engine.ON_GPU:
        return GPU_VECTORS + (basis_shape(CORRECTIONS, 1)[0] if optimizer == "lbfgs" else 3)
    if optimizer == "adam":
        return ADAM_VECTORS
    if history is not None:
        return LEAN_VECTORS
    return SCIPY_VECTORS + 2 * min(CORRECTIONS, iterations)


def history_bytes(history: int, size: tuple[int, int]) -> int:
    """Count the bytes of a float32 history of `history` steps for images of size (height, width).

    This is the whole matrix B of `npstyle.search.lbfgs`, with the gradient and the free slot.
    """
    return 4 * math.prod(basis_shape(history, 3 * size[0] * size[1]))
