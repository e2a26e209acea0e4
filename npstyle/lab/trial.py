"""A derivative under test: any function with its backward function, made scalar.

With fixed random weights u, f(x) = <u, F(x)> is a number, and its gradient is backward(u).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.lab.probes import Line
from npstyle.maths.array import Array


class Trial:
    """A derivative under test, made scalar by the weights u."""

    def __init__(
        self,
        function: Callable[..., Any],
        backward: Callable[..., Any] | None,
        inputs: tuple[Array, ...],
        pattern: Callable[..., tuple[Any, Any]] | None,
        rng: np.random.Generator,
    ) -> None:
        self.function, self.backward = function, backward
        self.inputs, self.pattern = inputs, pattern
        result = function(*copies(inputs))
        if backward is None:
            if not isinstance(result, tuple) or len(result) != 2:
                raise InputError(
                    "the function must return a pair (value, gradient), or a backward function "
                    f"must be given; it returned {type(result).__name__}"
                )
            result, gradients = result
        value = self.base = self._value(result)
        if not np.array_equal(self._value(self._call(*inputs)), value):
            raise InputError(
                "the function returned another value for the same input; its derivative can be "
                "checked only without randomness (fix the seed inside the function)"
            )
        if backward is None and value.ndim:
            raise InputError(
                "without a backward function the value must be a number, "
                f"not an array {value.shape}"
            )
        if value.ndim:
            self.upstream = rng.standard_normal(value.shape).astype(np.asarray(result).dtype)
        else:
            self.upstream = np.ones((), np.float64)
        if backward is not None:
            gradients = backward(self.upstream.copy(), *copies(inputs))
        self.gradients = checked_gradients(gradients, inputs)

    def _call(self, *inputs: Array) -> Any:
        result = self.function(*copies(inputs))
        return result[0] if self.backward is None else result

    @staticmethod
    def _value(result: Any) -> Array:
        value = np.asarray(result)
        if value.dtype.kind not in "fc":
            raise InputError(f"the function must return float numbers, it returned {value.dtype}")
        if not np.all(np.isfinite(value)):
            raise InputError("the function returned NaN or infinity; choose other inputs")
        return value

    def moved(self, argument: int, x: Array) -> tuple[Array, Any]:
        """Return F with one input replaced, and its pattern."""
        inputs = (*self.inputs[:argument], x, *self.inputs[argument + 1 :])
        if self.pattern is None:
            return self._value(self._call(*inputs)), None
        result, pattern = self.pattern(*copies(inputs))
        return self._value(result), pattern

    @cached_property
    def _here(self) -> Any:
        """The pattern at x, or None."""
        return None if self.pattern is None else self.moved(0, self.inputs[0])[1]

    def line(self, argument: int, v: Array, rounding: float) -> Line:
        """Return the line x + t v. Its changes are sums of differences, to reduce rounding."""
        x, gradient = self.inputs[argument], self.gradients[argument]
        assert gradient is not None

        def change(t: float) -> tuple[float, Any]:
            value, pattern = self.moved(argument, (x + t * v).astype(x.dtype))
            moved = value.astype(np.float64) - self.base
            return float(np.sum(self.upstream * moved)), pattern

        slope = float(np.sum(gradient * v, dtype=np.float64))
        return Line(change, slope, rounding, self._here)

    def rounding(
        self, argument: int, scale: Array, epsilon: float, rng: np.random.Generator
    ) -> float:
        """Estimate the rounding error of a change of f, from changes in the last place."""
        line = self.line(argument, rng.standard_normal(scale.shape) * scale, 0.0)
        steps = [k * epsilon for k in (-3, -2, -1, 1, 2, 3)]
        left = [abs(line.change(t)[0] - t * line.slope) for t in steps]
        terms = self.upstream * self.base.astype(np.float64)
        return max(*left, epsilon * float(np.sqrt(np.sum(terms**2))))


def float_array(x: Any, argument: int) -> Array:
    """Return an input as an array; raise InputError if its dtype is no float."""
    array = np.asarray(x)
    if array.dtype.kind != "f":
        raise InputError(
            f"input {argument} has dtype {array.dtype}; a derivative needs a float array"
        )
    return array


def copies(inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Copy the inputs, because a function may overwrite them."""
    return tuple(x.copy() for x in inputs)


def checked_gradients(gradients: Any, inputs: tuple[Array, ...]) -> tuple[Array | None, ...]:
    """Return one gradient, or None, per input; raise InputError if number or shapes are wrong."""
    found = gradients if isinstance(gradients, tuple) else (gradients,)
    if len(found) != len(inputs) and not isinstance(gradients, tuple):
        found = (*found, *(None,) * (len(inputs) - 1))
    if len(found) != len(inputs):
        raise InputError(f"backward returned {len(found)} gradients for {len(inputs)} inputs")
    arrays = tuple(None if g is None else np.asarray(g) for g in found)
    for k, (gradient, x) in enumerate(zip(arrays, inputs, strict=True)):
        if gradient is not None and gradient.shape != x.shape:
            raise InputError(
                f"the gradient for input {k} has shape {gradient.shape}; the input has {x.shape}"
            )
    return arrays


def scale_of(x: Array) -> Array:
    """Return the size of each entry, or the typical size where that is larger."""
    typical = float(np.sqrt(np.mean(np.abs(x.astype(np.float64)) ** 2))) if x.size else 0.0
    return np.maximum(np.abs(x).astype(np.float64), typical or 1.0)
