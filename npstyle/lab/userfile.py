"""A function and its derivative from a user's file.

`FILE.py:NAME` names a function. `NAME_backward` in the same file returns its gradient. It takes
the inputs alone if the function returns a number, or dL/dF before them. Without
`NAME_backward`, the function itself returns (value, gradient). `NAME_inputs(rng)` returns the
inputs as a tuple. Without it each parameter is a random array.
"""

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from npstyle.errors import InputError


def load_pair(
    target: str, shape: tuple[int, ...], seed: int
) -> tuple[Callable[..., Any], Callable[..., Any] | None, tuple[Any, ...]]:
    """Load function, backward function and inputs of a target such as "my_formula.py:my_loss".

    Parameters
    ----------
    target : str
        File and name, separated by a colon. The file is executed.
    shape : tuple of int
        Shape of the random inputs, if the file defines none.
    seed : int
        Seed of the random inputs.

    Returns
    -------
    function, backward, inputs
        `backward` takes dL/dF and the inputs, even if the file's function takes only the inputs.
        It is None if the function returns (value, gradient).

    Raises
    ------
    InputError
        If there is no such file or function, or its code raises an error.
    """
    path, _, name = target.rpartition(":")
    if not path or not name:
        raise InputError(f"{target}: write FILE.py:NAME, for example my_formula.py:my_loss")
    module = _load(Path(path))
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise InputError(f"{path}: has no function {name}; it has {', '.join(known) or 'none'}")
    rng = np.random.default_rng(seed)
    parameters = _positional(function)
    make_inputs = getattr(module, f"{name}_inputs", None)
    if make_inputs is None:
        inputs: tuple[Any, ...] = tuple(rng.standard_normal(shape) for _ in range(parameters))
    else:
        made = _guarded(make_inputs, f"{path}:{name}_inputs")(rng)
        inputs = made if isinstance(made, tuple) else (made,)
    written = getattr(module, f"{name}_backward", None)
    guarded = _guarded(function, target)
    if written is None:
        return guarded, None, inputs
    backward = _guarded(written, f"{path}:{name}_backward")
    if _positional(written) > len(inputs):
        return guarded, backward, inputs
    return guarded, lambda upstream, *given: _times(upstream, backward(*given)), inputs


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    _guarded(spec.loader.exec_module, str(path))(module)
    return module


def _positional(function: Callable[..., Any]) -> int:
    """Count the parameters without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _guarded(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return the same function; an error of the user's code becomes one sentence."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{what}: raised {type(error).__name__}: {error}") from error

    return call


def _times(upstream: Any, gradient: Any) -> Any:
    if np.ndim(upstream):
        raise InputError(
            f"the function returns an array {np.shape(upstream)}, so its backward function must "
            "take dL/dF, of that shape, as its first parameter"
        )
    if isinstance(gradient, tuple):
        return tuple(None if g is None else upstream * np.asarray(g) for g in gradient)
    return upstream * np.asarray(gradient)
