"""Feed mutated weights files to every reader: none may crash, hang, or take much memory.

For each format, the tool writes a small VGG. Then it makes thousands of copies in which bytes are
changed, removed, repeated or replaced by misleading numbers. For each of them the reader must
return weights or raise InputError. Each format is read in a process of its own, whose memory is
measured. If a reader fails in another way, the file is kept as fuzz-FORMAT-NUMBER.dat.

    python tools/fuzz_weights.py --count 10000
"""

import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.networks.convert import read_foreign
from npstyle.networks.convert_style import START_BYTES, convert_style_network
from npstyle.networks.formats.fast_neural_style import find_style_network
from npstyle.networks.formats.onnx import read_style_onnx
from npstyle.networks.formats.tensor_file import has_tensors, read_tensors
from npstyle.networks.style_network import load_style_network
from npstyle.networks.weights import load_weights, save_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fuzzing import fuzz_formats, mutate, read_all

from tests.networks import fast_neural_style, foreign, onnx_graphs

Writer = Callable[[Path, Any], Path]
Wrapper = Callable[[Path, Any, bytes], None]


def _own(path: Path, values: Any) -> Path:
    """Write npstyle's own format."""
    weights = read_foreign(foreign.write_caffe(path, values))
    target = path.with_suffix(".npz")
    save_weights(target, weights)
    return target


def _onnx(path: Path, values: Any) -> Path:
    """Write a style network in ONNX."""
    source: Path = onnx_graphs.write_style(path, np.random.default_rng(0))
    return source


def _style(path: Path, values: Any) -> Path:
    """Write a style network in npstyle's own format."""
    target = path.with_suffix(".npz")
    convert_style_network([_onnx(path, values)], target)
    return target


def _fast_neural_style(path: Path, values: Any) -> Path:
    """Write a style network with the tensors of PyTorch's examples."""
    tensors = fast_neural_style.draw_tensors(np.random.default_rng(0), running=True)
    source: Path = foreign.write_torch_legacy(path, tensors)
    return source


def _read_fast_neural_style(path: Path) -> None:
    start = path.read_bytes()[:START_BYTES]
    if not has_tensors(start):
        raise InputError(f"{path}: is no file of tensors")
    read_tensors(path, start, find_style_network)


def _read_vgg(path: Path) -> None:
    """Read a VGG. The input of the network is given, as measuring it takes longer than reading."""
    read_foreign(path, "bgr")


WRITERS: dict[str, Writer] = {
    "keras": foreign.write_keras,
    "pytorch zip": lambda path, values: foreign.write_torch_zip(path, foreign.torch_names(values)),
    "pytorch legacy": lambda path, values: foreign.write_torch_legacy(
        path, foreign.torch_names(values)
    ),
    "safetensors": lambda path, values: foreign.write_safetensors(
        path, foreign.torch_names(values)
    ),
    "keras 3": foreign.write_keras3,
    "keras archive": foreign.write_keras_archive,
    "numpy archive": foreign.write_numpy_archive,
    "bfloat16": lambda path, values: foreign.write_bfloat16(path, foreign.torch_names(values)),
    "matconvnet": foreign.write_matconvnet,
    "matconvnet, uncompressed": lambda path, values: foreign.write_matconvnet(
        path, values, compress=False
    ),
    "caffe": foreign.write_caffe,
    "npstyle": _own,
    "onnx": _onnx,
    "npstyle, style network": _style,
    "pytorch legacy, style": _fast_neural_style,
}

READERS: dict[str, Callable[[Path], Any]] = {
    "npstyle": load_weights,
    "onnx": read_style_onnx,
    "npstyle, style network": load_style_network,
    "pytorch legacy, style": _read_fast_neural_style,
}
"""The reader of each format that `read_foreign` does not read."""


def _in_zip(path: Path, values: Any, data: bytes) -> None:
    """Write a pickle into a valid archive, so that no checksum hides the changes in it."""
    foreign.write_torch_zip(path, foreign.torch_names(values), data)


def _checkpoint(values: Any) -> Any:
    """Return tensors with a prefix, as in a checkpoint."""
    return foreign.with_prefix(foreign.torch_names(values), "module.")


def _in_checkpoint(path: Path, values: Any, data: bytes) -> None:
    """Write the pickle of a checkpoint into a valid archive."""
    foreign.write_torch_zip(path, _checkpoint(values), data)


def _in_keras_archive(path: Path, values: Any, data: bytes) -> None:
    """Write HDF5 into a valid archive of Keras."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", data)


def _in_numpy_archive(path: Path, values: Any, data: bytes) -> None:
    """Write the bytes of one array into a valid archive of NumPy."""
    foreign.write_numpy_archive(path, values)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in members.items():
            archive.writestr(name, data if name == "conv1_1_W.npy" else old)


def _array_of_archive(path: Path, values: Any) -> Path:
    """Write the bytes of one array of an archive of NumPy."""
    with zipfile.ZipFile(foreign.write_numpy_archive(path, values)) as archive:
        data = archive.read("conv1_1_W.npy")
    return _written(path, data)


def _compressed(path: Path, values: Any, data: bytes) -> None:
    """Write the first element of a MATLAB file with valid compression."""
    end = 136 + int.from_bytes(data[132:136], "little")
    packed = zlib.compress(data[128:end])
    path.write_bytes(data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[end:])


WRAPPED: dict[str, tuple[Writer, Wrapper]] = {
    "pytorch zip, valid": (
        lambda path, values: _written(path, foreign.pickle_of_tensors(foreign.torch_names(values))),
        _in_zip,
    ),
    "checkpoint, valid": (
        lambda path, values: _written(
            path, foreign.nested_pickle(_checkpoint(values), ["run", "model"])
        ),
        _in_checkpoint,
    ),
    "keras archive, valid": (foreign.write_keras3, _in_keras_archive),
    "numpy archive, valid": (_array_of_archive, _in_numpy_archive),
    "matconvnet, valid": (WRITERS["matconvnet, uncompressed"], _compressed),
}
"""Formats whose checksums would detect every change: functions that write the part to mutate, and
functions that wrap it with valid checksums."""


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FORMATS = [*WRITERS, *WRAPPED]


def fuzz(name: str, count: int, seed: int) -> dict[str, Any]:
    """Read `count` mutations of one format; raise any error other than InputError."""
    rng = np.random.default_rng((seed, FORMATS.index(name)))
    values = foreign.draw_values(rng)
    write, wrap = WRAPPED.get(name) or (WRITERS[name], None)
    read = READERS.get(name, _read_vgg)
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder) / "source.dat", values)
        data = source.read_bytes()
        if wrap is not None:
            wrap(source, values, data)
        read(source)  # modules loaded now do not count as memory of a mutation

        def place(mutated: bytes) -> None:
            if wrap is None:
                source.write_bytes(mutated)
            else:
                wrap(source, values, mutated)

        return read_all(
            (mutate(rng, data) for _ in range(count)), place, lambda: read(source), name
        )


if __name__ == "__main__":
    fuzz_formats(fuzz, FORMATS, __doc__)
