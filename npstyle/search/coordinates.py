"""The coordinates that the search moves: frequencies of the picture, or its pixels.

`npstyle.maths.precondition` derives the preconditioned search. The constants were chosen by
measurement; `tools/README.md` has the figures.

L-BFGS knows nothing about lengths before its first step, so its first trial moves the coordinates
by 1 in all. If that is too short, SciPy spends six evaluations on finding a step that is long
enough. Therefore the unit of the coordinates is changed after the first evaluation: on a straight
line down along the gradient the loss f would be 0 at the distance f / |g|, and `FIRST_STEP` of this
distance becomes the unit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.precondition import spectrum

Function = Callable[[Array], tuple[float, Array]]
"""Returns (value, gradient) at a point."""

EXPONENT = 0.4
"""p of the preconditioner."""

LOWEST = 1 / 256
"""f_0, in cycles per pixel: lower frequencies get the same factor."""

HIGHEST = 0.2
"""f_1, in cycles per pixel: higher frequencies get the same factor."""

Colors = tuple[float, float, float]
"""g of the preconditioner: grey, red against blue, and green against both."""

COLORS: Colors = (1.0, 0.8, 0.6)
"""Colours of a search from a picture: it changes brightness most."""

NOISE_COLORS: Colors = (1.0, 1.0, 1.0)
"""Colours of a search from noise: it has to find the colours as well."""

FIRST_STEP = 0.5
"""Length of the first trial step, as a share of f / |g|."""


@dataclass(frozen=True)
class Coordinates:
    """The numbers w that an optimiser moves, in place of pixels x; w = 0 at the start.

    They are float32: they measure the distance from the start, whose pixels are exact. So they are
    rounded to a ten-millionth of this distance, and float32 halves the search's memory and time.

    Attributes
    ----------
    start : float64 array (height, width, channels), of the engine
        x_0.
    factors : float32 array (height, width, channels), of the engine, or float
        s, with which x = x_0 + D^T (s w); a float c if the pixels are not transformed:
        x = x_0 + c w.
    engine : module
    """

    start: Array
    factors: Array | float
    engine: ModuleType

    def zeros(self) -> Array:
        """Return w of the start, flat."""
        return np.zeros_like(self.start, np.float32, shape=self.start.size)

    def pixels(self, w: Array) -> Array:
        """Return the pixels x of w, a float64 array (height, width, channels)."""
        w = w.astype(np.float32, copy=False).reshape(self.start.shape)
        if isinstance(self.factors, float):
            return self.start + self.factors * w
        return self.start + self.engine.precondition(w, self.factors)

    def gradient(self, upstream: Array) -> Array:
        """Return df/dw, flat, of df/dx (height, width, channels)."""
        upstream = upstream.astype(np.float32)
        if isinstance(self.factors, float):
            return self.factors * upstream.ravel()
        return self.engine.precondition_backward(upstream, self.factors).ravel()

    def in_units(self, unit: float) -> "Coordinates":
        """Return these coordinates in another unit: w = 1 is what w = `unit` is now."""
        return replace(self, factors=self.factors * unit)


def first_step(loss: float, gradient: Array) -> float:
    """Return the length of a good first step from a loss and its gradient, flat; 1 if one is 0."""
    norm = float(np.vdot(gradient, gradient)) ** 0.5
    return FIRST_STEP * loss / norm if loss > 0 and norm > 0 else 1.0


def knowing_start(function: Function, value: float, gradient: Array) -> Function:
    """Return the function for an optimiser that evaluates its start first, which is known."""
    known = [(value, gradient)]
    return lambda w: known.pop() if known else function(w)


def search_spectrum(height: int, width: int, colors: Colors = COLORS) -> Array:
    """Return the factors s of an image's frequencies, float64 (height, width, 3)."""
    return spectrum(height, width, EXPONENT, LOWEST, HIGHEST, colors)


def coordinates(image: Array, precondition: Colors | None, engine: ModuleType) -> Coordinates:
    """Return the coordinates for a search from this image, float64 (height, width, channels).

    With None they are the pixels.
    """
    factors: Array | float = 1.0
    if precondition is not None:
        height, width = image.shape[:2]
        s = search_spectrum(height, width, precondition)
        factors = engine.place(s, np.float32)
    return Coordinates(image, factors, engine)
