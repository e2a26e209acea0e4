"""A pickle read without running it.

A pickle is a program for a small stack machine, and its instructions GLOBAL and REDUCE may call any
function of any module: unpickling a stranger's file lets the stranger in. Here the machine is run
by hand, over the instructions that Python's own `pickletools.genops` decodes. It knows numbers,
texts, tuples, lists and dictionaries, and of all functions only those that a file of PyTorch
tensors needs, written anew: an ordered dictionary becomes a dict, a tensor becomes a `TensorRecord`
that says where its numbers lie. Everything else is refused by its name. No class is ever looked up.

Format: the docstrings of Python's `pickletools`, and PyTorch's `torch/serialization.py` and
`torch/_utils.py`.
"""

import io
import pickletools
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 20
"""A pickle is refused beyond this; that of VGG-19's state dictionary has some 4 KB."""

MAX_INSTRUCTIONS = 50_000
"""Each makes at most a few hundred bytes; VGG-19's dictionary has about 1500."""


class RefusedError(Exception):
    """The pickle is damaged or asks for something that is not admitted; says what."""


@dataclass(frozen=True)
class StorageRecord:
    """A run of numbers in the file: its key, their type ("Float") and how many there are."""

    key: str
    kind: str
    count: int
    first: int = 0


@dataclass(frozen=True)
class TensorRecord:
    """A tensor: which numbers of a storage, and how they are laid out, in elements."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A module's function or class, by name only."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_MARK = object()
"""Stands in the stack where a tuple, list or dictionary begins."""

_ORDERED_DICT = _Name("collections", "OrderedDict")
_REBUILD_TENSOR = _Name("torch._utils", "_rebuild_tensor")
_REBUILD_TENSOR_V2 = _Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = _Name("torch._utils", "_rebuild_parameter")
_ADMITTED = {_ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_TENSOR_V2, _REBUILD_PARAMETER}

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
    """Read one pickle from where the file stands, and leave the file behind it.

    Parameters
    ----------
    file : BytesIO
        Give it no more than `MAX_BYTES`: nothing longer is a pickle that we read.

    Returns
    -------
    object
        Of None, bool, int, float, str, tuple, list, dict and TensorRecord.

    Raises
    ------
    RefusedError
        If it is damaged, too long, or asks for what is not admitted.
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
        raise RefusedError("its stack or its memo lacks what it asks for") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedError(f"it is damaged or truncated ({str(error)[:100]})") from error
    raise RefusedError("it has no end")


class _Machine:
    """The stack, and the memo of values by number."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise RefusedError("it ends with a stack of more or less than one value")
        if isinstance(self.stack[0], _Name):
            raise RefusedError(f"it asks for {self.stack[0]}")
        return self.stack[0]

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise RefusedError("its stack is broken")
        return value

    def top(self, kind: type, what: str) -> Any:
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise RefusedError(f"{what} is asked for of something else")
        return value

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise RefusedError("its stack is broken")

    def run(self, name: str, argument: Any) -> None:
        """Run one instruction."""
        if name in ("PROTO", "FRAME"):
            pass
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TEXTS or name in _NUMBERS:
            self.stack.append(argument)
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "POP":
            self.stack.pop()
        elif name == "POP_MARK":
            self.pop_to_mark()
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        elif name == "TUPLE":
            self.stack.append(tuple(self.pop_to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values = [self.pop() for _ in range(int(name[-1]))]
            self.stack.append(tuple(reversed(values)))
        elif name == "LIST":
            self.stack.append(self.pop_to_mark())
        elif name == "APPEND":
            value = self.pop()
            self.top(list, "append").append(value)
        elif name == "APPENDS":
            values = self.pop_to_mark()
            self.top(list, "append").extend(values)
        elif name == "DICT":
            self.stack.append(_fill({}, self.pop_to_mark()))
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            _fill(self.top(dict, "a key"), [key, value])
        elif name == "SETITEMS":
            values = self.pop_to_mark()
            _fill(self.top(dict, "a key"), values)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self.top(object, "memory")
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top(object, "memory")
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            self.stack.append(_admitted(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = self.pop(), self.pop()
            self.stack.append(_admitted(module, attribute))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            self.stack.append(_call(function, arguments))
        elif name == "BUILD":
            # Attributes of an ordered dictionary: PyTorch keeps versions of its modules there.
            self.pop()
            self.top(dict, "attributes")
        else:
            shown = f" {argument!r:.80}" if argument is not None else ""
            raise RefusedError(f"it asks for the instruction {name}{shown}")


def _admitted(module: Any, name: Any) -> _Name:
    """The name of a function or class, if it is one of those that we have."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise RefusedError("it names a function by something that is no text")
    asked = _Name(module, name)
    if asked in _ADMITTED or (module == "torch" and name.endswith("Storage")):
        return asked
    raise RefusedError(f"it asks for {str(asked)[:80]!r}, which a file of tensors has no need of")


def _fill(dictionary: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    if len(pairs) % 2:
        raise RefusedError("a dictionary has a key without a value")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Of other keys the hash would have to be taken, and a deeply nested tuple's is a trap.
        if not isinstance(key, str | int):
            raise RefusedError("a dictionary has a key that is neither text nor number")
        dictionary[key] = value
    return dictionary


def _storage(identity: Any) -> StorageRecord:
    """A run of numbers from its persistent id ('storage', type, key, device, count[, view])."""
    if (
        not isinstance(identity, tuple)
        or len(identity) not in (5, 6)
        or identity[0] != "storage"
        or not isinstance(identity[1], _Name)
        or not identity[1].name.endswith("Storage")
        or not isinstance(identity[2], str)
        or not _is_count(identity[4])
    ):
        raise RefusedError("a persistent id is not of the form of PyTorch's storages")
    kind = identity[1].name.removesuffix("Storage")
    key, count = identity[2], identity[4]
    view = identity[5] if len(identity) == 6 else None
    if view is None:
        return StorageRecord(key, kind, count)
    # (its own key, first element, number of elements), of the storage that it is a view of
    if not (
        isinstance(view, tuple) and len(view) == 3 and _is_count(view[1]) and _is_count(view[2])
    ):
        raise RefusedError("a persistent id holds a view that is none of PyTorch's")
    return StorageRecord(key, kind, count, view[1])


def _call(function: Any, arguments: Any) -> Any:
    """What the admitted functions do."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise RefusedError("it calls something that is no function that it may have")
    if function == _ORDERED_DICT:
        pairs = arguments[0] if arguments else []
        if len(arguments) > 1 or not isinstance(pairs, list):
            raise RefusedError("an ordered dictionary is made of something that is no list")
        flat: list[Any] = []
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise RefusedError("an ordered dictionary is made of something that is no pair")
            flat += pair
        return _fill({}, flat)
    if function == _REBUILD_PARAMETER:
        if not arguments or not isinstance(arguments[0], TensorRecord):
            raise RefusedError("a parameter is made of something that is no tensor")
        return arguments[0]
    if function in (_REBUILD_TENSOR, _REBUILD_TENSOR_V2):
        return _tensor(arguments)
    raise RefusedError(f"it calls {function}")


def _tensor(arguments: tuple[Any, ...]) -> TensorRecord:
    """(storage, offset, shape, strides, ...) of torch._utils._rebuild_tensor_v2."""
    if len(arguments) < 4:
        raise RefusedError("a tensor lacks its shape")
    storage, offset, shape, strides = arguments[:4]
    if not (
        isinstance(storage, StorageRecord)
        and _is_count(offset)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= 8
        and all(map(_is_count, (*shape, *strides)))
    ):
        raise RefusedError("a tensor's storage, offset, shape or strides are not what they must be")
    return TensorRecord(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48
