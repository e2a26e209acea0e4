"""A formula as its author wrote it, made a subject of the laboratory.

A subject has one result, and inputs that are all differentiated. A formula may return several
arrays, which are joined to one; it may have inputs that have no derivative, which are held fixed;
and its functions may take their arguments in several orders (`npstyle.lab.calling`).
"""

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.lab.calling import (
    CACHE,
    UPSTREAM,
    Order,
    input_names,
    order_of,
    takes_cache,
    with_tangents,
)
from npstyle.lab.subjects import Subject
from npstyle.lab.trial import Convention, copies
from npstyle.maths.array import Array

Fixed = str | int | Sequence[str | int]
"""Names or numbers of the inputs that have no derivative."""


@dataclass(frozen=True)
class Functions:
    """A function and its derivatives, as their author wrote them.

    Attributes
    ----------
    function, backward, jvp, hvp
        As in `npstyle.lab.gradcheck.check_gradient`.
    """

    function: Callable[..., Any]
    backward: Callable[..., Any] | None = None
    jvp: Callable[..., Any] | None = None
    hvp: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Inputs:
    """The inputs of a function, some of which may be fixed.

    Attributes
    ----------
    names : tuple of str
        Names of the parameters; empty if they are not known.
    values : tuple
        All inputs; those with a derivative are float arrays.
    varied : tuple of int
        Numbers of the inputs with a derivative.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]
    varied: tuple[int, ...]

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The inputs with a derivative."""
        return tuple(self.values[k] for k in self.varied)

    def all(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        """Return all inputs, with these arrays and copies of the fixed ones.

        A function may overwrite its inputs. A copied random generator repeats its numbers.
        """
        varied = dict(zip(self.varied, arrays, strict=True))
        return tuple(
            varied[k] if k in varied else _copied(value) for k, value in enumerate(self.values)
        )

    def label(self, k: int) -> str:
        """Name an input in a message."""
        return f"input {k} ({self.names[k]})" if self.names else f"input {k}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the inputs with a derivative."""
        return tuple(self.label(k) for k in self.varied)


def read_inputs(
    function: Callable[..., Any], given: Sequence[Any], fixed: Fixed
) -> tuple[Inputs, list[str]]:
    """Divide inputs into those with a derivative and fixed ones; return notes on the latter.

    Raises
    ------
    InputError
        If `fixed` names no input, or no input has a derivative.
    """
    names = input_names(function, len(given))
    held = _numbers(fixed, names, len(given))
    values, notes, refused = list(given), [], []
    for k, value in enumerate(given):
        if k in held:
            continue
        array = _as_array(value)
        if array is not None and array.dtype.kind in "fc":
            values[k] = array
            continue
        held.add(k)
        what = type(value).__name__ if array is None else f"dtype {array.dtype}"
        label = Inputs(names, (), ()).label(k)
        if isinstance(value, list | tuple) and any(np.ndim(v) for v in value if _numeric(v)):
            raise InputError(f"{label} is a {what} of arrays; pass each array as an input")
        refused.append(f"{label} has {what}")
        notes.append(f"{label} has no derivative ({what}) and was held fixed")
    varied = tuple(k for k in range(len(values)) if k not in held)
    if not varied:
        reason = refused[0] if refused else "every input is fixed"
        raise InputError(f"{reason}; a derivative needs a float array")
    return Inputs(names, tuple(values), varied), notes


def _copied(value: Any) -> Any:
    try:
        return deepcopy(value)
    except TypeError:  # a module, a lock: no function overwrites it
        return value


def _numbers(fixed: Fixed, names: tuple[str, ...], count: int) -> set[int]:
    """Return the numbers of the fixed inputs."""
    wanted = [fixed] if isinstance(fixed, str | int) else fixed
    if not isinstance(wanted, Collection):
        raise InputError(f"fixed: give the names or numbers of inputs, not {_described(fixed)}")
    found = set()
    for entry in wanted:
        if entry in names:
            found.add(names.index(str(entry)))
        elif isinstance(entry, int) and 0 <= entry < count:
            found.add(entry)
        else:
            known = ", ".join(names) or f"0 to {count - 1}"
            raise InputError(f"fixed: the function has no input {entry}; it has {known}")
    return found


def _as_array(value: Any) -> Array | None:
    """Return numbers as an array, or None for everything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "fciub" else None


def _numeric(value: Any) -> bool:
    return _as_array(value) is not None


def outputs_of(result: Any) -> tuple[Any, ...] | None:
    """Return the outputs of a function with several: a tuple, or a list of arrays; else None."""
    if isinstance(result, tuple):
        return result
    if isinstance(result, list) and any(np.ndim(entry) for entry in result if _numeric(entry)):
        return tuple(result)
    return None


def joined(result: Any) -> Any:
    """Return several outputs as one vector, and one output unchanged."""
    outputs = outputs_of(result)
    if outputs is None:
        return result
    arrays = [_as_array(output) for output in outputs]
    kinds = [
        type(o).__name__ if a is None else a.dtype.name
        for o, a in zip(outputs, arrays, strict=True)
    ]
    if not outputs or any(a is None or a.dtype.kind not in "fc" for a in arrays):
        raise InputError(
            f"the function returns a {type(result).__name__} of ({', '.join(kinds)}), but every "
            "output must be a float array; if one is a cache for the backward function, name that "
            "function's parameter `cache`: backward(upstream, cache)"
        )
    return np.concatenate([a.ravel() for a in arrays if a is not None])


def split(vector: Array, result: Any) -> Any:
    """Return what was joined, with the shapes and dtypes of a result."""
    outputs = outputs_of(result)
    if outputs is None:
        return vector
    parts, start = [], 0
    for output in map(np.asarray, outputs):
        part = vector[start : start + output.size].reshape(output.shape)
        parts.append((part if output.dtype.kind == "c" else part.real).astype(output.dtype))
        start += output.size
    return tuple(parts)


def per_input(found: Any, inputs: Inputs, what: str) -> tuple[Array | None, ...]:
    """Return one array, or None, per input with a derivative.

    Accepts a tuple or list with one entry per input, or per input with a derivative, or the array
    itself for the first of them.
    """
    arrays = inputs.arrays
    entries: Sequence[Any] = (found,)
    if isinstance(found, tuple | list):
        whole = _as_array(found) if len(arrays) == 1 else None
        if whole is None or whole.shape != arrays[0].shape:
            entries = found
    if len(entries) == len(inputs.values):
        entries = [entries[k] for k in inputs.varied]
    elif len(entries) != len(arrays) and not isinstance(found, tuple | list):
        entries = (found, *(None,) * (len(arrays) - 1))
    if len(entries) != len(arrays):
        raise InputError(
            f"{what} returned {len(entries)} gradients for {len(inputs.values)} inputs"
        )
    if all(entry is None for entry in entries):
        raise InputError(f"{what} returned None; it must return the gradient of at least one input")
    gradients = [None if g is None else np.asarray(g) for g in entries]
    for gradient, x, label in zip(gradients, arrays, inputs.labels, strict=True):
        if gradient is None:
            continue
        if gradient.dtype.kind not in "fciub":
            raise InputError(f"the gradient for {label} has dtype {gradient.dtype}, not floats")
        if gradient.shape != x.shape:
            raise InputError(
                f"the gradient for {label} has shape {gradient.shape}; the input has {x.shape}"
            )
    return tuple(gradients)


class Formula:
    """A user's functions at a point, with the arguments that each of them takes."""

    def __init__(self, functions: Functions, given: Sequence[Any], fixed: Fixed) -> None:
        self.functions = functions
        self.inputs, self.notes = read_inputs(functions.function, given, fixed)
        self.order: Order | None = None
        self.has_cache = self.is_pair = False
        names, backward = self.inputs.names, functions.backward
        if backward is not None:
            self.has_cache = takes_cache(backward, names)
        result = self._raw(self.inputs.arrays)
        if backward is None:
            self.is_pair = self._is_pair(result)
            result = result[0] if self.is_pair else result
        elif self.has_cache:
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise InputError(
                    "the backward function takes a cache, so the function must return "
                    f"(result, cache); it returned {_described(result)}"
                )
            result = result[0]
        self.result = result
        numbers = (joined(result), *self.inputs.arrays)
        forward = functions.jvp is not None or functions.hvp is not None
        if forward and any(np.iscomplexobj(x) for x in numbers):
            raise InputError(
                "jvp, hvp: are checked for real inputs and results only; leave them out, or take "
                "the real and the imaginary part as two arrays"
            )
        is_number = outputs_of(result) is None and np.ndim(result) == 0
        if backward is not None:
            self.order = order_of(backward, names, len(self.inputs.values), is_number)
        if functions.hvp is not None and (not is_number or (backward is None and not self.is_pair)):
            raise InputError(
                "hvp: a Hessian-vector product is checked against the gradient of a number; the "
                "function must return a number and have a backward function"
            )

    def _raw(self, arrays: Sequence[Array]) -> Any:
        return self.functions.function(*self.inputs.all(copies(tuple(arrays))))

    def _is_pair(self, result: Any) -> bool:
        """Return whether a function without a backward function returns (value, gradient)."""
        if isinstance(result, tuple | list) and len(result) == 2:
            if np.ndim(result[0]) == 0:
                return True
            if self.functions.jvp is None:
                raise InputError(
                    "without a backward function the value must be a number, "
                    f"not an array {np.shape(result[0])}"
                )
        if self.functions.jvp is None:
            raise InputError(
                "the function must return a pair (value, gradient), or a backward function "
                f"must be given; it returned {_described(result)}"
            )
        return False

    def value(self, *arrays: Array) -> Any:
        """Return the result, several outputs joined."""
        result = self._raw(arrays)
        return joined(result[0] if self.has_cache or self.is_pair else result)

    def backward(self, upstream: Array, *arrays: Array) -> tuple[Array | None, ...]:
        """Return one gradient, or None, per input with a derivative."""
        if self.order is None:
            if not self.is_pair:
                return (None,) * len(arrays)
            found = per_input(self._raw(arrays)[1], self.inputs, "the function")
            return _times(upstream, found)
        sources = self.order.sources
        given: dict[int | str, Any] = dict(enumerate(self.inputs.all(copies(arrays))))
        given[UPSTREAM] = split(upstream, self.result)
        if CACHE in sources:
            given[CACHE] = self._raw(arrays)[1]
        written = self.functions.backward
        assert written is not None
        found = per_input(written(*(given[s] for s in sources)), self.inputs, "backward")
        if UPSTREAM in sources or CACHE in sources:
            return found
        if upstream.ndim:
            raise InputError(
                f"the function returns {_described(self.result)}, so its backward function must "
                "take dL/dF, of that shape, as its first parameter"
            )
        return _times(upstream, found)

    def jvp(self, arrays: tuple[Array, ...], tangents: tuple[Array, ...]) -> Any:
        """Return dF along tangents, several outputs joined."""
        found = self._along(self.functions.jvp, arrays, tangents, "jvp")
        want, have = outputs_of(self.result), outputs_of(found)
        shapes = [np.shape(a) for a in ((self.result,) if want is None else want)]
        if (want is None) != (have is None) or shapes != [
            np.shape(a) for a in ((found,) if have is None else have)
        ]:
            raise InputError(
                f"jvp must return the derivative of the result alone, {_described(self.result)}; "
                f"it returned {_described(found)}"
            )
        return joined(found)

    def hvp(
        self, arrays: tuple[Array, ...], tangents: tuple[Array, ...]
    ) -> tuple[Array | None, ...]:
        """Return the Hessian times the tangents, one array per input with a derivative."""
        return per_input(
            self._along(self.functions.hvp, arrays, tangents, "hvp"), self.inputs, "hvp"
        )

    def _along(
        self,
        function: Callable[..., Any] | None,
        arrays: tuple[Array, ...],
        tangents: tuple[Array, ...],
        what: str,
    ) -> Any:
        assert function is not None
        directions = dict(zip(self.inputs.varied, copies(tangents), strict=True))
        every = tuple(directions.get(k) for k in range(len(self.inputs.values)))
        return with_tangents(function, self.inputs.all(copies(arrays)), every, what)

    def remarks(self, checked: set[int], passed: bool) -> tuple[str, ...]:
        """Return what a report should say, given the numbers of the inputs that were checked."""
        notes = list(self.notes)
        if self.order or self.is_pair:
            labels = [self.inputs.label(k) for k in self.inputs.varied if k not in checked]
            notes += [f"{label} was not checked: no gradient was returned" for label in labels]
        if self.order and self.order.doubt and not passed:
            notes.append(self.order.doubt)
        return tuple(notes)

    def subject(self, name: str, step: float | None, convention: Convention) -> Subject:
        """Return the formula as a subject."""
        return Subject(
            name,
            self.value,
            self.backward,
            self.inputs.arrays,
            step=step,
            convention=convention,
            labels=self.inputs.labels,
            jvp=None if self.functions.jvp is None else self.jvp,
            hvp=None if self.functions.hvp is None else self.hvp,
        )


def _times(upstream: Array, gradients: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    return tuple(None if g is None else upstream * g for g in gradients)


def _described(result: Any) -> str:
    outputs = outputs_of(result)
    if outputs is not None:
        return f"({', '.join(map(_described, outputs))})"
    array = _as_array(result)
    if array is None:
        return type(result).__name__
    return f"an array {array.shape}" if array.ndim else "a number"
