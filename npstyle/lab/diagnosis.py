"""What sort of mistake a wrong derivative has, judged by its entries and their differences.

Each sort is a sentence that holds for every entry that was compared: a factor, a constant that was
added, exchanged or reversed axes, a factor for each index of an axis. If none holds, the entries
that are wrong may still have something in common: an index, or a derivative of 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from npstyle.maths.array import Array

CLOSE = 1e-3
"""Largest unexplained share of the derivative, as a relative norm, for a sentence to hold."""

EXPLAINED = 1e-2
"""Largest unexplained share of the disagreement. It keeps a few wrong entries among many from being
called a factor close to 1."""

LISTED = 5
"""Longest axis whose factors are listed."""

NOTHING = 1e-9
"""Share of the largest entry below which an entry is 0."""

LEAST_WITH_EDGES = 3
"""Length that an axis must exceed for its first and last index to be called edges."""


@dataclass(frozen=True)
class Entry:
    """An entry of the gradient and its difference.

    Attributes
    ----------
    at : tuple of int
        Its index.
    analytic, numeric : float
    wrong : bool
    """

    at: tuple[int, ...]
    analytic: float
    numeric: float
    wrong: bool


def factor(analytic: Array, numeric: Array) -> float | None:
    """Return the factor that the analytic numbers lack, or None if it is not one for all."""
    squares = float(analytic @ analytic)
    found = float(numeric @ analytic) / squares if squares else 0.0
    return found if found and _holds(found * analytic, analytic, numeric) else None


def _holds(mended: Array, analytic: Array, numeric: Array) -> bool:
    left = float(np.linalg.norm(numeric - mended))
    disagreement = float(np.linalg.norm(numeric - analytic))
    return left <= min(CLOSE * float(np.linalg.norm(numeric)), EXPLAINED * disagreement)


def everywhere(entries: Sequence[Entry]) -> str:
    """Say that the analytic derivative is 0, or lacks a factor, at every entry; else "".

    The entries may be slopes along directions, too.
    """
    analytic, numeric = _numbers(entries)
    if not analytic.any():
        return "the analytic derivative is 0 everywhere"
    found = factor(analytic, numeric)
    if found is None:
        return ""
    return f"the analytic derivative must be multiplied by {found:.6g} everywhere"


def _numbers(entries: Sequence[Entry]) -> tuple[Array, Array]:
    """Return the analytic and the numeric numbers."""
    analytic, numeric = np.array([(e.analytic, e.numeric) for e in entries]).reshape(-1, 2).T
    return analytic, numeric


def diagnose(gradient: Array, entries: Sequence[Entry]) -> str:
    """Say what is wrong with a gradient.

    Parameters
    ----------
    gradient : array
        All of the analytic gradient, of real numbers.
    entries : sequence of Entry
        At least one of them wrong.

    Returns
    -------
    str
        Part of a sentence.
    """
    return next(_sorts(gradient, entries))


def _sorts(gradient: Array, entries: Sequence[Entry]) -> Iterator[str]:
    analytic, numeric = _numbers(entries)
    if said := everywhere(entries):
        yield said
    if len(entries) > 2:
        added = float(np.mean(analytic - numeric))
        if _holds(analytic - added, analytic, numeric):
            side = "large" if added > 0 else "small"
            yield f"the analytic derivative is too {side} by {abs(added):.6g} everywhere"
        yield from _rearranged(gradient, entries, analytic, numeric)
        yield from _factors_along_an_axis(gradient.shape, entries)
    yield _where(gradient.shape, entries)


def _rearranged(
    gradient: Array, entries: Sequence[Entry], analytic: Array, numeric: Array
) -> Iterator[str]:
    """Name axes that are exchanged or reversed."""
    index = tuple(np.array([entry.at for entry in entries]).T)
    axes, shape = range(gradient.ndim), gradient.shape
    for axis in axes:
        if _holds(np.flip(gradient, axis)[index], analytic, numeric):
            yield f"the analytic derivative is reversed along axis {axis}"
    for a, b in combinations(axes, 2):
        if _holds(np.flip(gradient, (a, b))[index], analytic, numeric):
            yield f"the analytic derivative is reversed along the axes {a} and {b}"
        if shape[a] == shape[b] and _holds(np.swapaxes(gradient, a, b)[index], analytic, numeric):
            yield f"axes {a} and {b} of the analytic derivative are exchanged"


def _factors_along_an_axis(shape: tuple[int, ...], entries: Sequence[Entry]) -> Iterator[str]:
    """Name an axis where each index has a factor of its own."""
    for axis, length in enumerate(shape):
        factors = []
        for k in range(length):
            part = [entry for entry in entries if entry.at[axis] == k]
            found = factor(*_numbers(part)) if any(entry.wrong for entry in part) else 1.0
            if len(part) < 2 or found is None:
                break
            factors.append(found)
        else:
            listed = ", ".join(f"{number:.4g}" for number in factors)
            if length > LISTED:
                listed = (
                    f"another factor for each index, from {min(factors):.4g} to {max(factors):.4g}"
                )
            if 1.0 not in factors or len(set(factors)) > 2:
                yield f"the analytic derivative must be multiplied by {listed} along axis {axis}"


def _where(shape: tuple[int, ...], entries: Sequence[Entry]) -> str:
    """Say how many entries are wrong, and what they have in common."""
    wrong = [entry for entry in entries if entry.wrong]
    if len(wrong) == len(entries):
        return "all entries that were compared are wrong" if len(wrong) > 1 else "it is wrong"
    verb = "is" if len(wrong) == 1 else "are"
    said = f"{len(wrong)} of the {len(entries)} entries that were compared {verb} wrong"
    if len(wrong) > 1:
        said += _shared_index(shape, [entry.at for entry in wrong])
        nothing = NOTHING * max(abs(entry.numeric) for entry in entries)
        for name in ("numeric", "analytic"):
            if all(abs(getattr(entry, name)) <= nothing for entry in wrong):
                return f"{said}; there the {name} derivative is 0"
    return said


def _shared_index(shape: tuple[int, ...], places: Sequence[tuple[int, ...]]) -> str:
    """Say where in an array all of some places lie, if it is one index, or at the edges."""
    for axis, length in enumerate(shape):
        found = {at[axis] for at in places}
        if length > 1 and len(found) == 1:
            return f", all of them at index {found.pop()} of axis {axis}"
    long = [axis for axis, length in enumerate(shape) if length > LEAST_WITH_EDGES]
    if all(any(at[axis] in (0, shape[axis] - 1) for axis in long) for at in places):
        return ", all of them at the edges of the array"
    return ""
