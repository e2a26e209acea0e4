"""Which argument each parameter of a user's function takes.

A backward function may be written as `backward(upstream, *inputs)`, `backward(*inputs, upstream)`,
`backward(*inputs)` (of a function that returns a number) or `backward(upstream, cache)`. The names
of the parameters decide: a parameter named like one of the function's takes that input, `cache`
takes what the function returns beside its result, and one other parameter takes the upstream
gradient dL/dF. Where the names differ, the upstream gradient comes first.

A function with tangents is written as `jvp(inputs, tangents)`, with two tuples, or as
`jvp(*inputs, *tangents)`, without tangents for fixed inputs.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from npstyle.errors import InputError

UPSTREAM = "upstream"
CACHE = "cache"

TUPLES = ("inputs", "primals")
"""Names of a first parameter that takes a tuple, even if there is one input."""

Source = int | str
"""The argument of a parameter: `UPSTREAM`, `CACHE`, or the number of an input."""


@dataclass(frozen=True)
class Order:
    """The arguments of a backward function, in the order of its parameters.

    Attributes
    ----------
    sources : tuple
        `UPSTREAM`, `CACHE`, or the number of an input, for each parameter.
    doubt : str
        A remark if the names of the parameters say nothing, else "".
    """

    sources: tuple[Source, ...]
    doubt: str = ""


def parameter_names(function: Callable[..., Any], known: Sequence[str] = ()) -> list[str] | None:
    """Return the positional parameters without a default, or with a known name.

    Returns
    -------
    list of str, or None
        None if the number of arguments is open (`*args`), or not known (NumPy's ufuncs).
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    return [p.name for p in positional if p.default is p.empty or p.name in known]


def input_names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Return the names of the parameters that take the inputs; () if they are not known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(p.name for p in positional[:count]) if len(positional) >= count else ()


def takes_cache(backward: Callable[..., Any], inputs: Sequence[str]) -> bool:
    """Return whether a backward function has the parameter `cache`, which is no input."""
    return CACHE not in inputs and CACHE in (parameter_names(backward, (CACHE,)) or ())


def order_of(
    backward: Callable[..., Any], inputs: Sequence[str], count: int, is_number: bool
) -> Order:
    """Find the arguments of a backward function.

    Parameters
    ----------
    backward : callable
    inputs : sequence of str
        Names of the function's inputs, or empty.
    count : int
        Number of the function's inputs.
    is_number : bool
        True if the function returns a number, so that its backward function may do without the
        upstream gradient.

    Raises
    ------
    InputError
        If the parameters fit no convention.
    """
    every = tuple(range(count))
    has_cache = takes_cache(backward, inputs)
    names = parameter_names(backward, (*inputs, CACHE) if has_cache else inputs)
    if names is None:
        return Order((UPSTREAM, *every))
    fixed: dict[str, Source] = {name: k for k, name in enumerate(inputs)}
    if has_cache:
        fixed[CACHE] = CACHE
    unknown = [name for name in names if name not in fixed]
    conventions: list[tuple[Source, ...]] = [(UPSTREAM, *every), (*every, UPSTREAM)]
    if is_number:
        conventions.insert(1, every)
    for sources in conventions:
        agree = all(fixed.get(n, s) == s for n, s in zip(names, sources, strict=False))
        if len(sources) == len(names) and agree:
            doubt = "" if len(unknown) < len(names) or not inputs else _doubt(names, sources)
            return Order(sources, doubt)
    if len(unknown) <= 1 and (len(unknown) < len(names) or not is_number):
        return Order(tuple(fixed.get(name, UPSTREAM) for name in names))
    wanted = ", ".join(inputs or (f"input {k}" for k in every))
    raise InputError(
        f"the backward function takes ({', '.join(names)}) and the function ({wanted}): write "
        f"backward(upstream, {wanted}), where upstream is dL/dF, or backward(upstream, cache) for "
        "a function that returns (result, cache)"
    )


def _doubt(names: Sequence[str], sources: tuple[Source, ...]) -> str:
    if UPSTREAM not in sources:
        return ""
    return (
        f"dL/dF was passed to the backward function as {names[sources.index(UPSTREAM)]}; if "
        "another parameter takes it, name the parameters for inputs as in the function"
    )


def with_tangents(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    tangents: tuple[Any, ...],
    what: str,
) -> Any:
    """Call `jvp` or `hvp` with inputs and tangents; the tangent of a fixed input is None."""
    names = parameter_names(function)
    flat = (*inputs, *(tangent for tangent in tangents if tangent is not None))
    if names is not None and len(names) == len(flat) and not _takes_tuples(names):
        return function(*flat)
    if names is None or len(names) == 2:
        return function(inputs, tangents)
    raise InputError(
        f"{what} takes {len(names)} arguments ({', '.join(names)}) for {len(inputs)} inputs: write "
        f"{what}(inputs, tangents), which takes two tuples"
    )


def _takes_tuples(names: Sequence[str]) -> bool:
    return len(names) == 2 and names[0] in TUPLES
