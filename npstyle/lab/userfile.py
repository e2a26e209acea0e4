"""A function and its derivatives from a user's file.

`FILE.py:NAME` names a function. Other names in the same file give the rest:

NAME_backward
    returns its gradient. It takes dL/dF and the inputs, or the inputs alone if the function returns
    a number. Without it, the function itself returns (value, gradient). For a name with "forward",
    such as `affine_forward`, the backward function is also found as `affine_backward`.
NAME_inputs
    `NAME_inputs(rng)` returns the inputs as a tuple. Without it each parameter is a random array.
NAME_fixed
    The names of inputs without a derivative.
NAME_jvp, NAME_hvp
    `NAME_jvp(inputs, tangents)` returns the derivative along the tangents, and `NAME_hvp` the
    product of the Hessian with them.

`npstyle.lab.gradcheck.check_gradient` describes what the functions take and return.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.lab.calling import parameter_names
from npstyle.lab.formula import Fixed, Functions

MODULE = "npstyle_user_{}"
"""Name of the module made from a file: none that the file could import."""


def load_functions(
    target: str, shape: tuple[int, ...], seed: int
) -> tuple[Functions, tuple[Any, ...], Fixed]:
    """Load the functions and inputs of a target such as "my_formula.py:my_loss".

    Parameters
    ----------
    target : str
        File and name, separated by a colon. The file is executed; it can import the modules beside
        it.
    shape : tuple of int
        Shape of the random inputs, if the file defines none.
    seed : int
        Seed of the random inputs.

    Returns
    -------
    functions, inputs, fixed
        For `npstyle.lab.gradcheck.check_gradient`.

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

    def found(*names: str) -> Callable[..., Any] | None:
        for key in names:
            written = getattr(module, key, None)
            if written is not None and not callable(written):
                raise InputError(f"{path}: {key} is no function")
            if written is not None:
                return _guarded(written, f"{path}:{key}")
        return None

    make_inputs = found(f"{name}_inputs")
    rng = np.random.default_rng(seed)
    if make_inputs is None:
        count = len(parameter_names(function) or "x")
        inputs: tuple[Any, ...] = _random_inputs(rng, shape, count)
    else:
        made = make_inputs(rng)
        inputs = tuple(made) if isinstance(made, tuple | list) else (made,)
    backward = [f"{name}_backward"]
    if "forward" in name:
        backward.append(name.replace("forward", "backward"))
    functions = Functions(
        _guarded(function, target), found(*backward), found(f"{name}_jvp"), found(f"{name}_hvp")
    )
    return functions, inputs, getattr(module, f"{name}_fixed", ())


def _random_inputs(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> tuple[Any, ...]:
    """Return random arrays; raises InputError if memory does not hold them."""
    try:
        return tuple(rng.standard_normal(shape) for _ in range(count))
    except (MemoryError, OverflowError, ValueError) as error:
        listed = ",".join(map(str, shape))
        raise InputError(
            f"--shape {listed}: memory does not hold it; give a smaller one"
        ) from error


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
    name = MODULE.format(path.stem)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up to read annotations.
    sys.modules[name] = module
    with _beside(path):
        _guarded(spec.loader.exec_module, str(path))(module)
    return module


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let code import the modules in the folder of a file."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _line(error: BaseException, function: Callable[..., Any]) -> str:
    """Name the last line of the user's own file that an error came through, if there is one."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if code and frame.filename == code.co_filename]
    return f" in line {own[-1]}" if own else ""


def _guarded(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return the same function; an error of the user's code becomes one sentence."""

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            line = _line(error, function)
            raise InputError(f"{what}: raised {type(error).__name__}{line}: {error}") from error

    return call
