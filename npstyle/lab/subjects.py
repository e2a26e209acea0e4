"""Subjects: a derivative and the point to check it at, for single layers of the textbook."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npstyle import maths
from npstyle.lab.trial import Convention
from npstyle.maths.array import Array


@dataclass(frozen=True)
class Subject:
    """A derivative, the point to check it at, and what is known of the function.

    Attributes
    ----------
    name : str
    function : callable
        `function(*inputs)` returns an array or a number.
    backward : callable or None
        `backward(upstream, *inputs)` returns the gradient of <upstream, F>: one array, or a tuple
        with one array, or None, per input. Without it, the function returns (number, gradient).
    inputs : tuple of float or complex arrays
        All are differentiated.
    pattern : callable, optional
        Like `function`, but returns (result, pattern). The pattern is an array that changes if and
        only if a kink is crossed.
    linear : indices
        Inputs that the function is linear or affine in. The adjoint test is run for them.
    smooth : indices
        Inputs that the function is analytic in and that may be complex. The complex step is run
        for them.
    step : float, optional
        As in `npstyle.lab.gradcheck.check_gradient`.
    jvp : callable, optional
        `jvp(inputs, tangents)` returns J v, of the shape of the function's result.
    hvp : callable, optional
        `hvp(inputs, tangents)` returns H v, a tuple with one array per input, of a function that
        returns a number.
    convention : {"plain", "conjugate"}
        As in `npstyle.lab.gradcheck.check_gradient`.
    labels : tuple of str
        What notes call the inputs; their numbers by default.
    """

    name: str
    function: Callable[..., Any]
    backward: Callable[..., Any] | None
    inputs: tuple[Array, ...]
    pattern: Callable[..., tuple[Any, Any]] | None = None
    linear: tuple[int, ...] = ()
    smooth: tuple[int, ...] = ()
    step: float | None = None
    jvp: Callable[..., Any] | None = None
    hvp: Callable[..., Any] | None = None
    convention: Convention = "plain"
    labels: tuple[str, ...] = ()


def computed_in(dtype: DTypeLike, subject: Subject) -> Subject:
    """Return the same function and derivative, which round their inputs to a lower precision."""

    def rounded(arrays: tuple[Array, ...]) -> Iterator[Array]:
        for x in arrays:
            yield x.astype(np.result_type(dtype, np.complex64) if x.dtype.kind == "c" else dtype)

    def function(*inputs: Array) -> Any:
        return subject.function(*rounded(inputs))

    def backward(*arrays: Array) -> Any:
        assert subject.backward is not None
        return subject.backward(*rounded(arrays))

    def traced(*inputs: Array) -> tuple[Any, Any]:
        assert subject.pattern is not None
        return subject.pattern(*rounded(inputs))

    return replace(
        subject,
        function=function,
        backward=backward,
        pattern=None if subject.pattern is None else traced,
        smooth=() if np.dtype(dtype) == np.float16 else subject.smooth,  # no complex float16
    )


def relu_subject(name: str, z: Array) -> Subject:
    """Return the ReLU at z; its kinks are where an entry changes its sign."""
    return Subject(
        name,
        maths.relu,
        lambda g, z: maths.relu_backward(g, maths.relu(z)),
        (z,),
        pattern=lambda z: (maths.relu(z), np.sign(z)),
    )


def avg_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Return average pooling at x."""
    return Subject(
        name,
        lambda x: maths.avg_pool2d(x, size, stride),
        lambda g, x: maths.avg_pool2d_backward(g, x.shape, size, stride),
        (x,),
        linear=(0,),
        smooth=(0,),
    )


def max_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Return max pooling at x; its kinks are where another position wins."""
    return Subject(
        name,
        lambda x: maths.max_pool2d(x, size, stride),
        lambda g, x: maths.max_pool2d_backward(g, x, size, stride),
        (x,),
        pattern=lambda x: (
            maths.max_pool2d(x, size, stride),
            maths.max_pool2d_winners(x, size, stride),
        ),
    )


def l2_pool_subject(name: str, x: Array, size: int, stride: int) -> Subject:
    """Return root mean square pooling at x; its kinks are where a window is all zeros."""
    return Subject(
        name,
        lambda x: maths.l2_pool2d(x, size, stride),
        lambda g, x: maths.l2_pool2d_backward(g, x, size, stride),
        (x,),
        pattern=lambda x: (maths.l2_pool2d(x, size, stride), maths.l2_pool2d(x, size, stride) > 0),
    )
