"""Memory that the search holds, for the estimate of a run's peak memory.

The constants count the float64 images alive at the same time. Tests compare them with the memory
that a search allocates.
"""

import math
from types import ModuleType

from npstyle.engine import cpu
from npstyle.search import Optimizer
from npstyle.search.lbfgs import CORRECTIONS, basis_shape

SCIPY_VECTORS = 23
"""float64 images under SciPy's L-BFGS-B besides the history: coordinates, gradients, work arrays,
copies, the image evaluated, the best image."""

LBFGS_VECTORS = 9
"""float64 images under `npstyle.search.lbfgs` on the CPU besides its matrix B: coordinates, the
direction, the image evaluated, the best image, gradients on the way back."""

GPU_VECTORS = 12
"""float64 images on a GPU besides the matrix B of L-BFGS, or m, v and their temporaries under Adam:
coordinates, the direction, images and gradients on the way to the objective and back."""

GPU_TRANSFORM = 2
"""float64 images that CuPy's cosine transform needs on a GPU, with its complex numbers."""

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
    optimizer : "lbfgs", "scipy" or "adam"
    iterations : int
        Steps to take. SciPy's history grows with them, up to its full length.
    history : int, optional
        Steps of a history that the caller allocates. It is not counted here; its bytes are those
        of `history_bytes`. If not given, the default history is counted.
    engine : module
        Where the search runs: `npstyle.engine.cpu` or `npstyle.engine.cuda`.
    """
    basis = (basis_shape(CORRECTIONS, 1)[0] + 1) // 2  # float32
    if engine.ON_GPU:
        return (
            GPU_VECTORS
            + {"lbfgs": GPU_TRANSFORM + basis, "scipy": GPU_TRANSFORM, "adam": 3}[optimizer]
        )
    if optimizer == "adam":
        return ADAM_VECTORS
    if optimizer == "scipy":
        return SCIPY_VECTORS + 2 * min(CORRECTIONS, iterations)
    return LBFGS_VECTORS + (basis if history is None else 0)


def history_bytes(history: int, size: tuple[int, int]) -> int:
    """Count the bytes of a history of `history` steps for images of size (height, width).

    This is the whole matrix B of `npstyle.search.lbfgs`, with the gradient and the free slot.
    """
    return 4 * math.prod(basis_shape(history, 3 * size[0] * size[1]))
