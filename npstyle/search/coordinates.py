"""The coordinates that the search moves: frequencies of the picture, or its pixels.

`npstyle.maths.precondition` derives the preconditioned search. The constants were chosen by
measurement; `tools/README.md` has the figures.

L-BFGS knows nothing about lengths before its first step, so its first trial moves the coordinates
by 1 in all. The unit of the coordinates is chosen such that this trial moves the pixels by about
`FIRST_STEP`. Otherwise SciPy spends six evaluations on finding a step that is long enough.
"""

from dataclasses import dataclass
from types import ModuleType

from npstyle.maths.array import Array
from npstyle.maths.precondition import spectrum

EXPONENT = 0.4
"""p of the preconditioner."""

LOWEST = 1 / 256
"""f_0, in cycles per pixel: lower frequencies get the same factor."""

HIGHEST = 0.1
"""f_1, in cycles per pixel: higher frequencies get the same factor."""

FIRST_STEP = 1.0
"""Root mean square of the change of the pixels in the first trial, in units of 0..255."""


@dataclass(frozen=True)
class Coordinates:
    """The numbers w that an optimiser moves, in place of pixels x.

    Attributes
    ----------
    factors : float64 array (height, width, 1), of the engine, or float
        s, with which x = D^T (s w); a float c if the pixels are not transformed: x = c w.
    shape : (height, width, channels)
        Of the picture.
    engine : module
    """

    factors: Array | float
    shape: tuple[int, ...]
    engine: ModuleType

    def of(self, image: Array) -> Array:
        """Return w of an image, flat."""
        if isinstance(self.factors, float):
            return image.ravel() / self.factors
        return self.engine.precondition_backward(image, 1 / self.factors).ravel()

    def pixels(self, w: Array) -> Array:
        """Return the pixels of w, flat."""
        if isinstance(self.factors, float):
            return self.factors * w
        return self.engine.precondition(w.reshape(self.shape), self.factors).ravel()

    def gradient(self, upstream: Array) -> Array:
        """Return df/dw of df/dx, both flat."""
        if isinstance(self.factors, float):
            return self.factors * upstream
        found = self.engine.precondition_backward(upstream.reshape(self.shape), self.factors)
        return found.ravel()


def coordinates(image: Array, precondition: bool, engine: ModuleType) -> Coordinates:
    """Return the coordinates for a search from this image, (height, width, channels)."""
    length = FIRST_STEP * image.size**0.5
    if not precondition:
        return Coordinates(length, image.shape, engine)
    height, width = image.shape[:2]
    factors = spectrum(height, width, EXPONENT, LOWEST, HIGHEST, length**2)
    return Coordinates(engine.place(factors), image.shape, engine)
