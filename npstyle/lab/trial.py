"""A derivative under test: any function with its backward function, made scalar.

With fixed random weights u, f(x) = Re <u, F(x)> is a number, and its gradient is backward(u).
Complex gradients are kept as df/dx + i df/dy, whatever the convention of the backward function.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np

from npstyle.errors import InputError
from npstyle.lab.probes import Line
from npstyle.maths.array import Array

Convention = Literal["plain", "conjugate"]
"""Whether a gradient for a complex input is df/dx + i df/dy, or its conjugate."""

JITTER = 1e-4
"""Relative difference of two values for the same input above which a function is random."""


class Trial:
    """A derivative under test, made scalar by the weights u."""

    def __init__(
        self,
        function: Callable[..., Any],
        backward: Callable[..., Any] | None,
        inputs: tuple[Array, ...],
        pattern: Callable[..., tuple[Any, Any]] | None,
        rng: np.random.Generator,
        convention: Convention = "plain",
    ) -> None:
        self.function, self.backward = function, backward
        self.inputs, self.pattern, self.convention = inputs, pattern, convention
        with np.errstate(all="ignore"):
            result = function(*copies(inputs))
        gradients: Any = None
        if backward is None:
            if not isinstance(result, tuple) or len(result) != 2:
                raise InputError(
                    "the function must return a pair (value, gradient), or a backward function "
                    f"must be given; it returned {type(result).__name__}"
                )
            result, gradients = result
            # The function may return the same array at every call.
            gradients = copied(gradients)
        value = self.base = _value(result)
        if not np.all(np.isfinite(value)):
            raise InputError(
                "the function returned NaN or infinity; choose other inputs "
                "(in a file: NAME_inputs)"
            )
        self._require_the_same(_value(self._call(*inputs)))
        if backward is None and value.ndim:
            raise InputError(
                "without a backward function the value must be a number, "
                f"not an array {value.shape}"
            )
        self.upstream = self.draw(value, rng) if value.ndim else np.ones((), np.float64)
        if backward is None:
            self.gradients = self._conjugated(checked_gradients(gradients, inputs))
        else:
            self.gradients = self.pull_back(self.upstream, inputs)

    def _require_the_same(self, again: Array) -> None:
        """Raise InputError if the value of a second call differs by more than rounding."""
        size = float(np.linalg.norm(np.abs(wide(self.base))))
        if again.shape != self.base.shape or not (
            np.linalg.norm(np.abs(wide(again) - self.base)) <= JITTER * size
        ):
            raise InputError(
                "the function returned another value for the same input; its derivative can be "
                "checked only without randomness (fix the seed inside the function)"
            )

    def _call(self, *inputs: Array) -> Any:
        with np.errstate(all="ignore"):
            result = self.function(*copies(inputs))
        return result[0] if self.backward is None else result

    @staticmethod
    def draw(value: Array, rng: np.random.Generator) -> Array:
        """Return random weights of the shape and dtype of a value."""
        drawn = rng.standard_normal(value.shape)
        if value.dtype.kind == "c":
            drawn = drawn + 1j * rng.standard_normal(value.shape)
        return drawn.astype(value.dtype)

    def pull_back(self, upstream: Array, inputs: tuple[Array, ...]) -> tuple[Array | None, ...]:
        """Return the gradients of Re <upstream, F> by the backward function."""
        assert self.backward is not None
        given = upstream.copy() if self.convention == "plain" else np.conj(upstream)
        with np.errstate(all="ignore"):
            gradients = copied(self.backward(given, *copies(inputs)))
        return self._conjugated(checked_gradients(gradients, inputs))

    def _conjugated(self, gradients: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        if self.convention == "plain":
            return gradients
        return tuple(None if g is None else np.conj(g) for g in gradients)

    def moved(self, argument: int, x: Array) -> tuple[Array, Any]:
        """Return F with one input replaced, and its pattern."""
        inputs = (*self.inputs[:argument], x, *self.inputs[argument + 1 :])
        if self.pattern is None:
            return _value(self._call(*inputs)), None
        with np.errstate(all="ignore"):
            result, pattern = self.pattern(*copies(inputs))
        return _value(result), pattern

    @cached_property
    def _here(self) -> Any:
        """The pattern at x, or None."""
        return None if self.pattern is None else self.moved(0, self.inputs[0])[1]

    def line(
        self,
        argument: int,
        v: Array,
        rounding: float,
        precision: float = float(np.finfo(float).eps),
    ) -> Line:
        """Return the line x + t v. Its changes are sums of differences, to reduce rounding."""
        x, gradient = self.inputs[argument], self.gradients[argument]
        assert gradient is not None

        def change(t: float) -> tuple[float, Any]:
            value, pattern = self.moved(argument, (x + t * v).astype(x.dtype))
            if not np.all(np.isfinite(value)):
                return float("nan"), None
            return real_product(self.upstream, wide(value) - self.base), pattern

        slope = real_product(gradient, v)
        return Line(change, slope, rounding, self._here, precision)

    @cached_property
    def size(self) -> float:
        """Root of the sum of the squared terms of f."""
        return float(np.sqrt(np.sum(np.abs(self.upstream * wide(self.base)) ** 2)))

    def rounding(
        self, argument: int, scale: Array, epsilon: float, rng: np.random.Generator
    ) -> float:
        """Estimate the rounding error of a change of f, from changes in the last place."""
        line = self.line(argument, direction(self.inputs[argument], scale, rng), 0.0)
        steps = [k * epsilon for k in (-3, -2, -1, 1, 2, 3)]
        left = [abs(line.change(t)[0] - t * line.slope) for t in steps]
        return max(*(0.0 if np.isnan(error) else error for error in left), epsilon * self.size)


def _value(result: Any) -> Array:
    # The function may return the same array at every call.
    value = np.array(result)
    if value.dtype.kind not in "fc":
        raise InputError(f"the function must return float numbers, it returned {value.dtype}")
    return value


def wide(x: Array) -> Array:
    """Return an array in double precision."""
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def real_product(a: Array, b: Array) -> float:
    """Re <a, b>: the inner product of the real and imaginary parts."""
    dtype = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    return float(np.sum(np.conj(a) * b, dtype=dtype).real)


def direction(x: Array, scale: Array, rng: np.random.Generator) -> Array:
    """Return a random direction, with entries of the size of those of x."""
    v = rng.standard_normal(scale.shape) * scale
    return v + 1j * rng.standard_normal(scale.shape) * scale if x.dtype.kind == "c" else v


def float_array(x: Any, argument: int) -> Array:
    """Return an input as an array; raise InputError if its dtype is neither float nor complex."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        raise InputError(
            f"input {argument} has dtype {array.dtype}; a derivative needs a float array"
        )
    return array


def copies(inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Copy the inputs, because a function may overwrite them."""
    return tuple(x.copy() for x in inputs)


def copied(gradients: Any) -> Any:
    """Copy gradients, because the function that returned them may overwrite them."""
    if isinstance(gradients, tuple):
        return tuple(None if g is None else np.array(g) for g in gradients)
    return None if gradients is None else np.array(gradients)


def checked_gradients(gradients: Any, inputs: tuple[Array, ...]) -> tuple[Array | None, ...]:
    """Return one gradient, or None, per input; raise InputError if number or shapes are wrong."""
    found = gradients if isinstance(gradients, tuple) else (gradients,)
    if len(found) != len(inputs) and not isinstance(gradients, tuple):
        found = (*found, *(None,) * (len(inputs) - 1))
    if len(found) != len(inputs):
        raise InputError(f"backward returned {len(found)} gradients for {len(inputs)} inputs")
    arrays = [None if g is None else np.asarray(g) for g in found]
    for k, (gradient, x) in enumerate(zip(arrays, inputs, strict=True)):
        if gradient is None:
            continue
        if gradient.shape != x.shape:
            raise InputError(
                f"the gradient for input {k} has shape {gradient.shape}; the input has {x.shape}"
            )
        if gradient.dtype.kind == "c" and x.dtype.kind != "c":
            if np.any(gradient.imag != 0):
                raise InputError(
                    f"the gradient for input {k} is complex, and the input is real; "
                    "return the real part of the gradient"
                )
            arrays[k] = gradient.real
    return tuple(arrays)


def scale_of(x: Array) -> Array:
    """Return the size of each entry, or the typical size where that is larger."""
    sizes = np.abs(wide(x))
    typical = float(np.sqrt(np.mean(sizes**2))) if x.size else 0.0
    return np.maximum(sizes, typical or 1.0)
