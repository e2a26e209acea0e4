"""Read a pickle without running it.

A pickle is a program for a small stack machine. Its instructions GLOBAL and REDUCE can call any
function of any module, so unpickling an untrusted file can run any code. This module interprets the
instructions that Python's `pickletools.genops` decodes. It supports numbers, strings, tuples,
lists, dictionaries, and the few functions that a file of PyTorch tensors needs. Those are
reimplemented here: an ordered dictionary becomes a dict, and a tensor becomes a `TensorRecord`
that describes where its numbers are. Everything else is refused by name. No class is ever imported.

Format: the docstrings of Python's `pickletools`, and PyTorch's `torch/serialization.py` and
`torch/_utils.py`.
"""

import io
import pickletools
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 20
"""Bytes beyond which a pickle is refused. That of VGG-19's state dictionary has about 4 KB."""

MAX_INSTRUCTIONS = 50_000
"""Number of instructions beyond which a pickle is refused. Each creates at most a few hundred
bytes; VGG-19's dictionary has about 1500."""


class RefusedError(Exception):
    """The pickle is damaged or not allowed; the message completes "because ..."."""


@dataclass(frozen=True)
class StorageRecord:
    """Consecutive numbers in the file: key, type ("Float"), count, and index of the first one."""

    key: str
    kind: str
    count: int
    first: int = 0


@dataclass(frozen=True)
class TensorRecord:
    """A tensor: its storage, and its offset, shape and strides in elements."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """The name of a function or a class."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_MARK = object()
"""Marks the start of a tuple, a list or a dictionary on the stack."""

_ORDERED_DICT = _Name("collections", "OrderedDict")
_REBUILD_TENSOR = _Name("torch._utils", "_rebuild_tensor")
_REBUILD_TENSOR_V2 = _Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = _Name("torch._utils", "_rebuild_parameter")
_ALLOWED = {_ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_TENSOR_V2, _REBUILD_PARAMETER}

_TEXTS = {
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
}
_NUMBERS = {
    "INT",
    "LONG",
    "LONG1",
    "LONG4",
    "BININT",
    "BININT1",
    "BININT2",
    "FLOAT",
    "BINFLOAT",
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}


def load(file: io.BytesIO) -> Any:
    """Read a pickle from the current position of a file, which is then at the end of the pickle.

    Parameters
    ----------
    file : BytesIO
        At most `MAX_BYTES` long.

    Returns
    -------
    object
        Made of None, bool, int, float, str, tuple, list, dict and TensorRecord.

    Raises
    ------
    RefusedError
        If the pickle is damaged, too long, or contains anything else.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise RefusedError(f"it has more than {MAX_INSTRUCTIONS} instructions")
            if opcode.name == "STOP":
                return machine.result()
            machine.run(opcode.name, argument)
    except RefusedError:
        raise
    except (IndexError, KeyError) as error:
        raise RefusedError("its stack or its memo lacks a value that it uses") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedError(f"it is damaged or truncated ({str(error)[:100]})") from error
    raise RefusedError("it does not end")


class _Machine:
    """The stack, and the memo of values by number; one method per kind of instruction."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the only value that is left on the stack."""
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise RefusedError("it ends with more or less than one value on its stack")
        if isinstance(self.stack[0], _Name):
            raise RefusedError(f"it contains the function {self.stack[0]}")
        return self.stack[0]

    def pop(self) -> Any:
        """Remove the top value and return it."""
        value = self.stack.pop()
        if value is _MARK:
            raise RefusedError("its stack is broken")
        return value

    def top(self, kind: type, instruction: str) -> Any:
        """Return the top value, which must be of this type."""
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise RefusedError(f"{instruction} is applied to a value of another type")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Remove the values down to the last mark, and the mark, and return the values."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise RefusedError("its stack is broken")

    def run(self, name: str, argument: Any) -> None:
        """Run an instruction, given its name in `pickletools`."""
        if name in ("PROTO", "FRAME"):
            return
        known = (
            self._push_value(name, argument)
            or self._change_stack(name)
            or self._build_container(name)
            or self._use_memo(name, argument)
            or self._call_function(name, argument)
        )
        if not known:
            shown = f" {argument!r:.80}" if argument is not None else ""
            raise RefusedError(f"it contains the instruction {name}{shown}")

    # Each method below runs the instructions of one kind, and returns False for all others.

    def _push_value(self, name: str, argument: Any) -> bool:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TEXTS or name in _NUMBERS:
            self.stack.append(argument)
        else:
            return False
        return True

    def _change_stack(self, name: str) -> bool:
        if name == "MARK":
            self.stack.append(_MARK)
        elif name == "POP":
            self.stack.pop()
        elif name == "POP_MARK":
            self.pop_to_mark()
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            return False
        return True

    def _build_container(self, name: str) -> bool:
        if name == "TUPLE":
            self.stack.append(tuple(self.pop_to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values = [self.pop() for _ in range(int(name[-1]))]
            self.stack.append(tuple(reversed(values)))
        elif name == "LIST":
            self.stack.append(self.pop_to_mark())
        elif name == "APPEND":
            value = self.pop()
            self.top(list, name).append(value)
        elif name == "APPENDS":
            values = self.pop_to_mark()
            self.top(list, name).extend(values)
        elif name == "DICT":
            self.stack.append(_fill({}, self.pop_to_mark()))
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            _fill(self.top(dict, name), [key, value])
        elif name == "SETITEMS":
            values = self.pop_to_mark()
            _fill(self.top(dict, name), values)
        else:
            return False
        return True

    def _use_memo(self, name: str, argument: Any) -> bool:
        if name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self.top(object, name)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top(object, name)
        else:
            return False
        return True

    def _call_function(self, name: str, argument: Any) -> bool:
        if name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            self.stack.append(_allowed(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = self.pop(), self.pop()
            self.stack.append(_allowed(module, attribute))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            self.stack.append(_call(function, arguments))
        elif name == "BUILD":
            # Attributes of an ordered dictionary, where PyTorch stores versions of its modules.
            self.pop()
            self.top(dict, name)
        else:
            return False
        return True


def _allowed(module: Any, name: Any) -> _Name:
    """Return the name of a function or class if it is one of the supported ones."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise RefusedError("it names a function by something that is not a string")
    requested = _Name(module, name)
    if requested in _ALLOWED or (module == "torch" and name.endswith("Storage")):
        return requested
    raise RefusedError(f"it contains {str(requested)[:80]!r}, which tensors do not need")


def _fill(dictionary: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """Add keys and values, given in turns, to a dictionary and return it."""
    if len(pairs) % 2:
        raise RefusedError("a dictionary has a key without a value")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Other keys would have to be hashed, and hashing a deeply nested tuple overflows the stack.
        if not isinstance(key, str | int):
            raise RefusedError("a dictionary has a key that is neither a string nor an integer")
        dictionary[key] = value
    return dictionary


def _storage(identity: Any) -> StorageRecord:
    """Return a storage from its persistent id ('storage', type, key, device, count[, view])."""
    if (
        not isinstance(identity, tuple)
        or len(identity) not in (5, 6)
        or identity[0] != "storage"
        or not isinstance(identity[1], _Name)
        or not identity[1].name.endswith("Storage")
        or not isinstance(identity[2], str)
        or not _is_count(identity[4])
    ):
        raise RefusedError("a persistent id does not have the form of PyTorch's storages")
    kind = identity[1].name.removesuffix("Storage")
    key, count = identity[2], identity[4]
    view = identity[5] if len(identity) == 6 else None
    if view is None:
        return StorageRecord(key, kind, count)
    # A view of another storage: (its own key, first element, number of elements).
    if not (
        isinstance(view, tuple) and len(view) == 3 and _is_count(view[1]) and _is_count(view[2])
    ):
        raise RefusedError("a persistent id contains a view that does not have PyTorch's form")
    return StorageRecord(key, kind, count, view[1])


def _call(function: Any, arguments: Any) -> Any:
    """Call one of the supported functions."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise RefusedError("it calls something that is not a supported function")
    if function == _ORDERED_DICT:
        pairs = arguments[0] if arguments else []
        if len(arguments) > 1 or not isinstance(pairs, list):
            raise RefusedError("an ordered dictionary is built from something other than a list")
        flat: list[Any] = []
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise RefusedError("an ordered dictionary is built from something other than pairs")
            flat += pair
        return _fill({}, flat)
    if function == _REBUILD_PARAMETER:
        if not arguments or not isinstance(arguments[0], TensorRecord):
            raise RefusedError("a parameter is built from something other than a tensor")
        return arguments[0]
    if function in (_REBUILD_TENSOR, _REBUILD_TENSOR_V2):
        return _tensor(arguments)
    raise RefusedError(f"it calls {function}")


def _tensor(arguments: tuple[Any, ...]) -> TensorRecord:
    """Return a tensor from the arguments (storage, offset, shape, strides, ...) of PyTorch."""
    if len(arguments) < 4:
        raise RefusedError("a tensor has no shape")
    storage, offset, shape, strides = arguments[:4]
    if not (
        isinstance(storage, StorageRecord)
        and _is_count(offset)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= 8
        and all(map(_is_count, (*shape, *strides)))
    ):
        raise RefusedError("the storage, offset, shape or strides of a tensor are not valid")
    return TensorRecord(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    """Return whether a value is an integer from 0 to 2^48 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48
