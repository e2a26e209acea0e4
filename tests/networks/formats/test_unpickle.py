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
def test_plain_values_are_read_as_pickle_reads_them(protocol):
    value = {
        "a": [1, -2, 300, 70_000, 1 << 40, 1.5, True, None, "é", ()],
        "b": OrderedDict([("x", (1, 2)), ("y", {"z": [[], {}]})]),
        3: (1, (2, 3), (4, 5, 6), (7, 8, 9, 10)),
    }
    assert read(pickle.dumps(value, protocol)) == value


def test_shared_values_are_shared():
    part = ["once"]
    found = read(pickle.dumps([part, part], 2))
    assert found[0] is found[1]


def test_a_tensor_becomes_a_record_of_its_place(rng):
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
def test_a_hostile_call_is_refused_by_its_name_and_not_made(
    tmp_path, monkeypatch, protocol, function, arguments, name
):
    monkeypatch.chdir(tmp_path)
    for value in (Calls(function, *arguments), {"w": [Calls(function, *arguments)]}):
        with pytest.raises(RefusedError, match=name):
            read(pickle.dumps(value, protocol))
    assert not list(tmp_path.iterdir())


def asks(*lines, tail=b"."):
    return b"\x80\x02" + b"".join(lines) + tail


STORAGE = b"(" + f.text("storage") + b"ctorch\nFloatStorage\n" + f.text("0") + f.text("cpu")
ORDERED = b"ccollections\nOrderedDict\n"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"

HOSTILE = {
    "a class by INST": (b"(S'touch MARK'\niposix\nsystem\n.", "INST 'posix system'"),
    "an object by NEWOBJ": (asks(ORDERED, b")\x81"), "NEWOBJ"),
    "an extension": (asks(b"\x82\x01"), "EXT1"),
    "a text as persistent id": (b"Pstorage\n.", "PERSID"),
    "another module's storage": (asks(b"cos\nFloatStorage\n"), r"os\.FloatStorage"),
    "a dotted name": (asks(b"ctorch\nos.system\n"), r"torch\.os\.system"),
    "a dotted storage": (asks(b"ctorch\nos.Storage\n"), r"torch\.os\.Storage"),
    "another function of torch": (asks(b"ctorch._utils\n_rebuild_qtensor\n"), "_rebuild_qtensor"),
    "a bare function": (asks(ORDERED), r"collections\.OrderedDict"),
    "a call of a storage's type": (asks(b"ctorch\nFloatStorage\n", b")R"), "torch.FloatStorage"),
    "a call of a text": (asks(f.text("x"), b")R"), "no function"),
    "a call with a list": (asks(ORDERED, b"]R"), "no function"),
    "a name made of numbers": (b"\x80\x04K\x01K\x02\x93.", "no text"),
    "a persistent id in another": (
        asks(STORAGE[:-8], STORAGE, f.number(4), b"tQ", f.text("cpu"), f.number(4), b"tQ"),
        "persistent id",
    ),
    "a persistent id of a list": (asks(b"]Q"), "persistent id"),
    "a negative storage": (asks(STORAGE, f.number(-4), b"tQ"), "persistent id"),
    "a huge storage": (asks(STORAGE, b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"tQ"), "persistent id"),
    "a strange view": (asks(STORAGE, f.number(4), b"]tQ"), "view"),
    "a tensor of nothing": (asks(TENSOR, b")R"), "shape"),
    "a tensor of a number": (asks(TENSOR, b"(K\x01K\x00))tR"), "storage, offset"),
    "a parameter of a text": (
        asks(b"ctorch._utils\n_rebuild_parameter\n(", f.text("x"), b"tR"),
        "parameter",
    ),
    "an ordered dictionary of a number": (asks(ORDERED, b"K\x01\x85R"), "no list"),
    "an ordered dictionary of numbers": (asks(ORDERED, b"]K\x01a\x85R"), "no pair"),
    "a key that is a tuple": (asks(b"}(", b")" * 3, b"\x85" * 3000, b"K\x01u"), "key"),
    "a key that is a list": (asks(b"}]K\x01s"), "key"),
    "an odd dictionary": (asks(b"}(K\x01u"), "without a value"),
    "attributes of a number": (asks(b"K\x01}b"), "attributes"),
    "an append to a number": (asks(b"K\x01K\x02a"), "append"),
    "a set": (b"\x80\x04\x8f.", "EMPTY_SET"),
    "an empty stack": (asks(b""), "stack"),
    "two values": (asks(b"K\x01K\x02"), "stack"),
    "a mark as value": (asks(b"("), "stack"),
    "a pop too many": (asks(b"000"), "stack"),
    "a mark in a tuple": (asks(b"K\x01(\x86"), "stack"),
    "no mark": (asks(b"K\x01t"), "stack"),
    "an unknown memo": (asks(b"h\x07"), "memo"),
    "an unknown instruction": (b"\x80\x02\xff.", "damaged"),
    "no end": (b"\x80\x02K\x01", "damaged"),
    "nothing": (b"", "damaged"),
    "a text that is longer than the file": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f", "damaged"),
    "a number of many digits": (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
    "a stack bomb": (asks(b"(" * (MAX_INSTRUCTIONS + 10)), "instructions"),
    "a nest of lists": (asks(b"]" * MAX_INSTRUCTIONS, b"a" * MAX_INSTRUCTIONS), "instructions"),
    "a dictionary bomb": (asks(b"}" * (MAX_INSTRUCTIONS + 10)), "instructions"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_file_of_tensors_holds_is_refused_by_name(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    data, says = HOSTILE[what]
    with pytest.raises(RefusedError, match=says):
        read(data)
    assert not list(tmp_path.iterdir())


def test_a_deep_nest_is_read_without_recursion():
    deep = read(asks(b"]" * 20_000, b"a" * 19_999))
    for _ in range(19_999):
        (deep,) = deep
    assert deep == []


def test_a_view_of_a_storage_begins_where_it_says():
    view = b"(" + f.text("1") + f.number(3) + f.number(2) + b"t"
    record = read(asks(b"]", STORAGE, f.number(9), view, b"tQa"))[0]
    assert (record.count, record.first) == (9, 3)


def test_the_file_is_left_behind_the_pickle():
    file = io.BytesIO(pickle.dumps("first", 2) + pickle.dumps(2, 2) + b"rest")
    assert (load(file), load(file), file.read()) == ("first", 2, b"rest")


def test_the_pickled_length_of_a_number_is_not_trusted():
    with pytest.raises(RefusedError, match="damaged"):
        read(b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"\x01.")
