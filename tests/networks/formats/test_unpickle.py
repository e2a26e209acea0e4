import io
import os
import pickle
import struct
from collections import OrderedDict

import pytest

from npstyle.networks.formats.unpickle import MAX_INSTRUCTIONS, RefusedError, TensorRecord, load
from tests.networks import foreign as f


def read(data):
    return load(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_as_by_pickle(protocol):
    value = {
        "a": [1, -2, 300, 70_000, 1 << 40, 1.5, True, None, "é", ()],
        "b": OrderedDict([("x", (1, 2)), ("y", {"z": [[], {}]})]),
        3: (1, (2, 3), (4, 5, 6), (7, 8, 9, 10)),
    }
    assert read(pickle.dumps(value, protocol)) == value


def test_shared_values_stay_shared():
    part = ["once"]
    found = read(pickle.dumps([part, part], 2))
    assert found[0] is found[1]


def test_a_tensor_becomes_a_record_of_its_storage_and_layout(rng):
    array = rng.standard_normal((4, 3, 3, 3)).astype("f4")
    tensor = read(f.pickle_of_tensors({"w": array}))["w"]
    assert isinstance(tensor, TensorRecord)
    assert (tensor.shape, tensor.strides, tensor.offset) == ((4, 3, 3, 3), (27, 9, 3, 1), 0)
    assert (tensor.storage.key, tensor.storage.kind, tensor.storage.count) == ("0", "Float", 108)


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch MARK",), r"(posix|nt)\.system"),
        (eval, ("open('MARK', 'w')",), r"(builtins|__builtin__)\.eval"),
        (open, ("MARK", "w"), r"(_?io|builtins|__builtin__)\.open"),
        (getattr, (str, "join"), r"(builtins|__builtin__)\.getattr"),
    ],
)
def test_a_hostile_call_is_refused_by_name_and_not_executed(
    tmp_path, monkeypatch, protocol, function, arguments, name
):
    monkeypatch.chdir(tmp_path)
    for value in (Calls(function, *arguments), {"w": [Calls(function, *arguments)]}):
        with pytest.raises(RefusedError, match=name):
            read(pickle.dumps(value, protocol))
    assert not list(tmp_path.iterdir())


def instructions(*lines, tail=b"."):
    return b"\x80\x02" + b"".join(lines) + tail


STORAGE = b"(" + f.text("storage") + b"ctorch\nFloatStorage\n" + f.text("0") + f.text("cpu")
ORDERED = b"ccollections\nOrderedDict\n"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"

HOSTILE = {
    "a class by INST": (b"(S'touch MARK'\niposix\nsystem\n.", "INST 'posix system'"),
    "an object by NEWOBJ": (instructions(ORDERED, b")\x81"), "NEWOBJ"),
    "an extension": (instructions(b"\x82\x01"), "EXT1"),
    "a text as persistent id": (b"Pstorage\n.", "PERSID"),
    "another module's storage": (instructions(b"cos\nFloatStorage\n"), r"os\.FloatStorage"),
    "a dotted name": (instructions(b"ctorch\nos.system\n"), r"torch\.os\.system"),
    "a dotted storage": (instructions(b"ctorch\nos.Storage\n"), r"torch\.os\.Storage"),
    "another function of torch": (
        instructions(b"ctorch._utils\n_rebuild_qtensor\n"),
        "_rebuild_qtensor",
    ),
    "a bare function": (instructions(ORDERED), r"collections\.OrderedDict"),
    "a call of a storage's type": (
        instructions(b"ctorch\nFloatStorage\n", b")R"),
        "torch.FloatStorage",
    ),
    "a call of a text": (instructions(f.text("x"), b")R"), "no function"),
    "a call with a list": (instructions(ORDERED, b"]R"), "no function"),
    "a name made of numbers": (b"\x80\x04K\x01K\x02\x93.", "no text"),
    "a persistent id in another": (
        instructions(STORAGE[:-8], STORAGE, f.number(4), b"tQ", f.text("cpu"), f.number(4), b"tQ"),
        "persistent id",
    ),
    "a persistent id of a list": (instructions(b"]Q"), "persistent id"),
    "a negative storage": (instructions(STORAGE, f.number(-4), b"tQ"), "persistent id"),
    "a huge storage": (
        instructions(STORAGE, b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"tQ"),
        "persistent id",
    ),
    "a strange view": (instructions(STORAGE, f.number(4), b"]tQ"), "view"),
    "a tensor of nothing": (instructions(TENSOR, b")R"), "shape"),
    "a tensor of a number": (instructions(TENSOR, b"(K\x01K\x00))tR"), "storage, offset"),
    "a parameter of a text": (
        instructions(b"ctorch._utils\n_rebuild_parameter\n(", f.text("x"), b"tR"),
        "parameter",
    ),
    "an ordered dictionary of a number": (instructions(ORDERED, b"K\x01\x85R"), "no list"),
    "an ordered dictionary of numbers": (instructions(ORDERED, b"]K\x01a\x85R"), "no pair"),
    "a key that is a tuple": (instructions(b"}(", b")" * 3, b"\x85" * 3000, b"K\x01u"), "key"),
    "a key that is a list": (instructions(b"}]K\x01s"), "key"),
    "an odd dictionary": (instructions(b"}(K\x01u"), "without a value"),
    "attributes of a number": (instructions(b"K\x01}b"), "attributes"),
    "an append to a number": (instructions(b"K\x01K\x02a"), "append"),
    "a set": (b"\x80\x04\x8f.", "EMPTY_SET"),
    "an empty stack": (instructions(b""), "stack"),
    "two values": (instructions(b"K\x01K\x02"), "stack"),
    "a mark as value": (instructions(b"("), "stack"),
    "a pop too many": (instructions(b"000"), "stack"),
    "a mark in a tuple": (instructions(b"K\x01(\x86"), "stack"),
    "no mark": (instructions(b"K\x01t"), "stack"),
    "an unknown memo": (instructions(b"h\x07"), "memo"),
    "an unknown instruction": (b"\x80\x02\xff.", "damaged"),
    "no end": (b"\x80\x02K\x01", "damaged"),
    "nothing": (b"", "damaged"),
    "a text that is longer than the file": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f", "damaged"),
    "a number of many digits": (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
    "a stack bomb": (instructions(b"(" * (MAX_INSTRUCTIONS + 10)), "instructions"),
    "a nest of lists": (
        instructions(b"]" * MAX_INSTRUCTIONS, b"a" * MAX_INSTRUCTIONS),
        "instructions",
    ),
    "a dictionary bomb": (instructions(b"}" * (MAX_INSTRUCTIONS + 10)), "instructions"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_every_instruction_that_tensors_do_not_need_is_refused(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    data, says = HOSTILE[what]
    with pytest.raises(RefusedError, match=says):
        read(data)
    assert not list(tmp_path.iterdir())


def test_deeply_nested_lists_are_read_without_recursion():
    deep = read(instructions(b"]" * 20_000, b"a" * 19_999))
    for _ in range(19_999):
        (deep,) = deep
    assert deep == []


def test_a_view_of_a_storage_keeps_its_first_element():
    view = b"(" + f.text("1") + f.number(3) + f.number(2) + b"t"
    record = read(instructions(b"]", STORAGE, f.number(9), view, b"tQa"))[0]
    assert (record.count, record.first) == (9, 3)


def test_reading_stops_at_the_end_of_the_pickle():
    file = io.BytesIO(pickle.dumps("first", 2) + pickle.dumps(2, 2) + b"rest")
    assert (load(file), load(file), file.read()) == ("first", 2, b"rest")


def test_an_integer_longer_than_the_file_is_refused():
    with pytest.raises(RefusedError, match="damaged"):
        read(b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"\x01.")
