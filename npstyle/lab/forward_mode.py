"""Forward derivatives J v, and Hessian-vector products H v, checked numerically.

Let V be a few random directions in the input x, and t as many numbers. Then J V_i is the
derivative of

    G(t) = F(x + t_1 V_1 + t_2 V_2 + ...)

in t_i at t = 0. G is an ordinary function with an analytic derivative, so the methods of
`npstyle.lab.methods` check it: central differences and Taylor remainders. Where F is analytic, the
complex step Im F(x + i h v) / h is J v up to rounding. For any u and v,

    <u, J v> = <J^T u, v>

ties the forward derivative to the backward function, up to rounding. Without a backward function,
J v must be the sum of the contributions of the inputs.

The Hessian H is the Jacobian of the gradient, and symmetric. So H v is checked as J v is, with the
gradient in the place of F and H u in the place of J^T u:

    <u, H v> = <H u, v>

Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.lab.methods import COMPLEX_STEP, Outcome
from npstyle.lab.subjects import Subject
from npstyle.lab.trial import checked_gradients, copies, scale_of
from npstyle.maths.array import Array

PAIRS = 3
"""Number of random pairs u, v for an identity."""

IDENTITIES = {
    "jvp adjoint": "<u, J v> = <J^T u, v>",
    "jvp sum": "J (v_1, v_2, ...) = J_1 v_1 + J_2 v_2 + ...",
    "hvp symmetry": "<u, H v> = <H u, v>",
}

Sides = Callable[[Subject, tuple[Array, ...], Array, tuple[Array, ...]], tuple[float, float, float]]
"""From a subject, its inputs, u and v to the two sides of an identity and their size."""


@dataclass(frozen=True)
class Along:
    """A forward derivative under test.

    Attributes
    ----------
    name : str
        "jvp" or "hvp".
    whole : Subject
        The function whose forward derivative J v is under test.
    subject : Subject
        G(t) with the derivative that J v gives it.
    """

    name: str
    whole: Subject
    subject: Subject

    def outcomes(self, found: Iterable[Outcome]) -> list[Outcome]:
        """Name the outcomes of G after the forward derivative.

        An entry of t is a random direction in x, so the directions in t say nothing new.
        """
        labels = {
            "coordinates": self.name,
            "taylor": f"{self.name} taylor",
        }
        return [
            replace(o, method=labels[o.method], note=o.note.replace("at (", "along direction (", 1))
            for o in found
            if o.method in labels
        ]

    def complex_steps(self, tolerance: float, rng: np.random.Generator) -> list[Outcome]:
        """Compare J v with Im F(x + i h v) / h, relative to the largest |J v|."""
        found, inputs = [], self.whole.inputs
        for k in self.whole.smooth:
            start = time.perf_counter()
            errors, sizes = [], []
            for _ in range(PAIRS):
                v = rng.standard_normal(inputs[k].shape) * scale_of(inputs[k])
                v = v.astype(inputs[k].dtype)
                moved = (*inputs[:k], inputs[k] + 1j * COMPLEX_STEP * v, *inputs[k + 1 :])
                numeric = np.imag(self.whole.function(*copies(moved))) / COMPLEX_STEP
                analytic = _along_one(self.whole.jvp, inputs, k, v)
                errors.append(_norm(numeric - analytic))
                sizes.append(max(_norm(numeric), _norm(analytic)))
            error = max(errors) / (max(sizes) or 1.0)
            passed, seconds = error <= tolerance, time.perf_counter() - start
            note = "" if passed else "J v differs from the complex step"
            method = f"{self.name} complex"
            found.append(
                Outcome(method, k, passed, error, tolerance, PAIRS, note=note, seconds=seconds)
            )
        return found

    def identity(self, tolerance: float, epsilon: float, rng: np.random.Generator) -> list[Outcome]:
        """Compare the two sides of an identity for J v, where there is one."""
        start = time.perf_counter()
        result = np.asarray(self.whole.function(*copies(self.whole.inputs)))
        gradients = _gradients(self.whole, np.ones_like(result), self.whole.inputs)
        if any(g is not None for g in gradients):
            sides, name = _by_gradient, "jvp adjoint" if self.name == "jvp" else "hvp symmetry"
        elif len(gradients) > 1:
            sides, name = _by_input, "jvp sum"
        else:
            return []
        worst, note = _worst(sides, self.whole, result, epsilon, rng)
        passed = worst <= tolerance
        note = "" if passed else f"{IDENTITIES[name]} fails: {note}"
        seconds = time.perf_counter() - start
        return [Outcome(name, 0, passed, worst, tolerance, PAIRS, note=note, seconds=seconds)]


def forward_subjects(subject: Subject, directions: int, rng: np.random.Generator) -> list[Along]:
    """Return the forward derivatives of a subject, J v and H v, ready for their checks."""
    found = []
    if subject.jvp is not None:
        found.append(Along("jvp", subject, along(subject, directions, rng)))
    if subject.hvp is not None:
        gradient = gradient_subject(subject)
        found.append(Along("hvp", gradient, along(gradient, directions, rng)))
    return found


def gradient_subject(subject: Subject) -> Subject:
    """Return the gradient of a number as a function; its Jacobian is the Hessian."""

    def gradient(*inputs: Array) -> Array:
        assert subject.backward is not None
        return _flat(subject.backward(np.ones(()), *copies(inputs)), "backward")

    def product(inputs: tuple[Array, ...], tangents: tuple[Array, ...]) -> Array:
        assert subject.hvp is not None
        return _flat(subject.hvp(inputs, tangents), "hvp")

    def backward(u: Array, *inputs: Array) -> tuple[Array, ...]:
        parts = np.split(u, np.cumsum([x.size for x in inputs])[:-1])
        tangents = (part.reshape(x.shape) for part, x in zip(parts, inputs, strict=True))
        assert subject.hvp is not None
        return subject.hvp(inputs, tuple(tangents))

    pattern = subject.pattern
    return replace(
        subject,
        function=gradient,
        backward=backward,
        pattern=pattern and (lambda *inputs: (gradient(*inputs), pattern(*inputs)[1])),
        jvp=product,
        hvp=None,
    )


def _flat(gradients: Any, what: str) -> Array:
    found = gradients if isinstance(gradients, tuple) else (gradients,)
    if any(g is None for g in found):
        raise InputError(
            f"hvp: {what} returned nothing for an input; return an array, or fix the input"
        )
    return np.concatenate([np.ravel(g) for g in found])


def along(subject: Subject, count: int, rng: np.random.Generator) -> Subject:
    """Return G(t): the function along random directions in each input, with the derivative J V.

    Its inputs are t = 0, one vector with `count` numbers per input of the subject.
    """
    inputs, jvp, pattern = subject.inputs, subject.jvp, subject.pattern
    frames = tuple(
        (rng.standard_normal((count, *x.shape)) * scale_of(x)).astype(x.dtype) for x in inputs
    )

    def moved(ts: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(
            (x + np.tensordot(t, V, 1)).astype(x.dtype)
            for x, t, V in zip(inputs, ts, frames, strict=True)
        )

    def backward(u: Array, *ts: Array) -> tuple[Array, ...]:
        x = moved(ts)
        slopes = (
            np.array([_inner(u, _along_one(jvp, x, k, v)) for v in V]) for k, V in enumerate(frames)
        )
        return tuple(slopes)

    return replace(
        subject,
        function=lambda *ts: subject.function(*moved(ts)),
        backward=backward,
        inputs=tuple(np.zeros(count, x.dtype) for x in inputs),
        pattern=pattern and (lambda *ts: pattern(*moved(ts))),
        linear=(),
        smooth=(),
        jvp=None,
        hvp=None,
    )


def _along_one(jvp: Any, inputs: tuple[Array, ...], k: int, v: Array) -> Array:
    """Return J v for a tangent v of the k-th input alone."""
    tangents = tuple(v if j == k else np.zeros_like(x) for j, x in enumerate(inputs))
    return np.asarray(jvp(copies(inputs), copies(tangents)))


def _inner(a: Array, b: Array) -> float:
    return float(np.sum(np.asarray(a) * b, dtype=np.float64))


def _worst(
    sides: Sides, subject: Subject, result: Array, epsilon: float, rng: np.random.Generator
) -> tuple[float, str]:
    """Return the largest error of an identity over random u and v, and its two sides in words.

    Both sides may be rounded more than their last place where a function subtracts numbers of
    almost the same size. Then they also change more when x changes in its last place.
    """
    inputs = subject.inputs
    nudged = tuple(
        (x * (1 + epsilon * rng.choice([-1, 1], x.shape))).astype(x.dtype) for x in inputs
    )
    worst, note = 0.0, ""
    for _ in range(PAIRS):
        V = tuple((rng.standard_normal(x.shape) * scale_of(x)).astype(x.dtype) for x in inputs)
        u = rng.standard_normal(result.shape).astype(result.dtype) if result.ndim else np.ones(())
        left, right, size = sides(subject, inputs, u, V)
        left_nudged, right_nudged, _ = sides(subject, nudged, u, V)
        rounding = abs(left - left_nudged) + abs(right - right_nudged)
        error = max(0.0, abs(left - right) - 4 * rounding) / size
        if error > worst:
            worst, note = error, f"{left:.6g} and {right:.6g}"
    return worst, note


def _gradients(subject: Subject, u: Array, inputs: tuple[Array, ...]) -> tuple[Array | None, ...]:
    """Return J^T u, one array or None per input."""
    assert subject.backward is not None
    return checked_gradients(subject.backward(u.copy(), *copies(inputs)), inputs)


def _by_gradient(
    subject: Subject, inputs: tuple[Array, ...], u: Array, V: tuple[Array, ...]
) -> tuple[float, float, float]:
    """Return <u, J v>, <J^T u, v> and the size of their terms, without inputs that have no J^T."""
    gradients = _gradients(subject, u, inputs)
    pairs = [(g, v) for g, v in zip(gradients, V, strict=True) if g is not None]
    V = tuple(v if g is not None else np.zeros_like(v) for g, v in zip(gradients, V, strict=True))
    left, size = _forward(subject, inputs, u, V)
    size = max(size, _norm(*(g for g, _ in pairs)) * _norm(*V))
    return left, sum(_inner(g, v) for g, v in pairs), size or 1.0


def _by_input(
    subject: Subject, inputs: tuple[Array, ...], u: Array, V: tuple[Array, ...]
) -> tuple[float, float, float]:
    """Return <u, J v>, the sum of its parts for each input, and the size of the terms."""
    left, size = _forward(subject, inputs, u, V)
    parts = [_along_one(subject.jvp, inputs, k, v) for k, v in enumerate(V)]
    size = max(size, _norm(u) * sum(map(_norm, parts)))
    return left, sum(_inner(u, part) for part in parts), size or 1.0


def _forward(
    subject: Subject, inputs: tuple[Array, ...], u: Array, V: tuple[Array, ...]
) -> tuple[float, float]:
    """Return <u, J v> and |u| |J v|."""
    assert subject.jvp is not None
    found = np.asarray(subject.jvp(copies(inputs), copies(V)))
    return _inner(u, found), _norm(u) * _norm(found)


def _norm(*arrays: Array) -> float:
    return float(np.sqrt(sum(np.sum(np.abs(np.asarray(a, np.float64)) ** 2) for a in arrays)))
