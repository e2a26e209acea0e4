"""Writers of the weights files of other programs, all from the same values.

The values are a kernel (out, in, 3, 3) and a bias (out,) by "conv1_1", ..., for Caffe's
preprocessing: BGR, 0..255, minus the mean.
"""

import io
import json
import struct
import zipfile

import h5py
import numpy as np
from scipy.io import savemat

from npstyle.networks.architecture import VGG_BLOCKS
from npstyle.networks.conventions import BLUE_MINUS_RED
from npstyle.networks.formats.pytorch import MAGIC

MEAN_RGB = (123.68, 116.779, 103.939)
KERAS_NAMES = {
    "old": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    "new": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
}


def draw_values(rng, letter="E", width=2):
    """Random values of a VGG with few channels."""
    values, channels = {}, 3
    for block, count in enumerate(VGG_BLOCKS[letter], start=1):
        for n in range(1, count + 1):
            kernel = rng.standard_normal((width * block, channels, 3, 3)).astype(np.float32)
            bias = rng.standard_normal(width * block).astype(np.float32)
            values[f"conv{block}_{n}"] = kernel, bias
            channels = width * block
    return values


def like_caffes(values, rng):
    """The values with 64 first filters whose colours and biases are as in Caffe's VGG-19."""
    u = np.zeros((3, 3, 3))
    u[0], u[2] = 18**-0.5, -(18**-0.5)
    kernel = np.empty((64, 3, 3, 3))
    for k, difference in enumerate(BLUE_MINUS_RED):
        v = rng.standard_normal((3, 3, 3))
        v -= (v * u).sum() * u
        t = difference / 18**0.5
        kernel[k] = t * u + np.sqrt(1 - t**2) * v / np.linalg.norm(v)
    second, bias = values["conv1_2"]
    channels = rng.standard_normal((len(second), 64, 3, 3)).astype(np.float32)
    first = kernel.astype(np.float32), rng.uniform(0.3, 0.5, 64).astype(np.float32)
    return values | {"conv1_1": first, "conv1_2": (channels, bias)}


def for_input(values, order, unit=1.0):
    """Values for BGR, 0..255, converted to another channel order and to a unit of the input."""
    kernel, bias = values["conv1_1"]
    kernel = kernel if order == "BGR" else kernel[:, ::-1]
    return values | {"conv1_1": (np.ascontiguousarray(kernel * np.float32(unit)), bias)}


def write_keras(path, values, style="old", top=False):
    with h5py.File(path, "w") as file:
        for layer, (kernel, bias) in values.items():
            name = layer.replace("conv", "block").replace("_", "_conv")
            file[KERAS_NAMES[style][0].format(name)] = kernel.transpose(2, 3, 1, 0)
            file[KERAS_NAMES[style][1].format(name)] = bias
        if top:
            file["fc1/fc1_W_1:0"] = np.zeros((8, 4), np.float32)
    return path


def write_keras3(path, values, place="layers/", optimizer=False):
    """The layout of Keras 3: layers counted by class."""
    with h5py.File(path, "w") as file:
        for k, (layer, (kernel, bias)) in enumerate(values.items()):
            group = file.create_group(f"{place}conv2d{f'_{k}' if k else ''}/vars")
            group["0"], group["1"] = kernel.transpose(2, 3, 1, 0), bias
            group.attrs["name"] = layer.replace("conv", "block").replace("_", "_conv")
            if optimizer:
                file[f"optimizer/vars/{2 * k}"] = kernel
        file["layers/dense/vars/0"] = np.zeros((8, 4), np.float32)
    return path


def write_keras_archive(path, values, **options):
    inner = write_keras3(path.with_suffix(".inner"), values, **options)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.write(inner, "model.weights.h5")
    inner.unlink()
    return path


def write_numpy_archive(path, values):
    """The layout of vgg16_weights.npz."""
    arrays = {"fc6_W": np.zeros((8, 4), np.float32)}
    for layer, (kernel, bias) in values.items():
        arrays |= {f"{layer}_W": kernel.transpose(2, 3, 1, 0), f"{layer}_b": bias}
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def bfloat16(array):
    """The upper halves of float32 numbers, and the numbers that they stand for."""
    halves = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


def write_bfloat16(path, tensors):
    """A safetensors file in bfloat16."""
    header, data = {}, b""
    for name, array in tensors.items():
        end = len(data) + 2 * array.size
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), end]}
        data += bfloat16(array)[0].tobytes()
    path.write_bytes(safetensors_header(header, data))
    return path


def with_prefix(tensors, prefix):
    return {f"{prefix}{name}": array for name, array in tensors.items()}


def nested_pickle(tensors, keys, legacy=False):
    """The pickle of a checkpoint that has the tensors under some keys, one inside the other."""
    inner = pickle_of_tensors(tensors, legacy=legacy)[2:-1]
    for key in reversed(keys):
        inner = b"}" + text("epoch") + b"K\x07s" + text(key) + inner + b"s"
    return b"\x80\x02" + inner + b"."


def torch_names(values, head=()):
    """The values as the tensors of a state dictionary, with torchvision's names features.N."""
    tensors, number, block = {}, 0, "1"
    for layer, (kernel, bias) in values.items():
        if layer[4] != block:
            block, number = layer[4], number + 1
        tensors[f"features.{number}.weight"] = kernel
        tensors[f"features.{number}.bias"] = bias
        number += 2
    for n in head:
        tensors[f"classifier.{n}.weight"] = np.zeros((2, 2), np.float32)
        tensors[f"classifier.{n}.bias"] = np.zeros(2, np.float32)
    return tensors


def caffe_names(values):
    """The same tensors with names such as conv1_1.weight, as in Gatys' file."""
    return {
        f"{layer}.{part}": array
        for layer, arrays in values.items()
        for part, array in zip(("weight", "bias"), arrays, strict=True)
    }


def text(value):
    return b"X" + struct.pack("<i", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def pickle_of_tensors(tensors, kind="FloatStorage", legacy=False):
    """The pickle that torch.save writes for an ordered dictionary of float32 tensors."""
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, array) in enumerate(tensors.items()):
        out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        out += b"(" + text("storage") + f"ctorch\n{kind}\n".encode()
        out += text(str(key)) + text("cpu") + number(array.size)
        out += (b"N" if legacy else b"") + b"tQ" + number(0)
        strides = [stride // array.itemsize for stride in array.strides]
        for sizes in (array.shape, strides):
            out += b"(" + b"".join(map(number, sizes)) + b"t"
        out += b"\x89ccollections\nOrderedDict\n)RtR"
    return out + b"u."


def write_torch_zip(path, tensors, pickle=None, byteorder=b"little", compression=0):
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("vgg/data.pkl", pickle or pickle_of_tensors(tensors))
        archive.writestr("vgg/byteorder", byteorder)
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"vgg/data/{key}", array.tobytes())
    return path


def legacy_head():
    machine = b"}" + text("little_endian") + b"\x88s"
    magic = MAGIC.to_bytes(10, "little")
    return (
        b"\x80\x02\x8a" + bytes([len(magic)]) + magic + b"."
        b"\x80\x02M\xe9\x03."  # 1001
        b"\x80\x02" + machine + b"."
    )


def write_torch_legacy(path, tensors, pickle=None):
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    keys = b"\x80\x02](" + b"".join(text(str(key)) for key in range(len(tensors))) + b"e."
    data = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in tensors.values())
    path.write_bytes(
        legacy_head() + (pickle or pickle_of_tensors(tensors, legacy=True)) + keys + data
    )
    return path


def write_safetensors(path, tensors):
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


def safetensors_header(tensors, data=b""):
    """The bytes of a safetensors file with any header."""
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def write_matconvnet(path, values, old=False, average=MEAN_RGB, compress=True):
    """Write (height, width, in, out) filters, with the first layer for RGB."""
    layers = []
    for layer, (kernel, bias) in values.items():
        if layer == "conv1_1":
            kernel = kernel[:, ::-1]
        filters, biases = kernel.transpose(2, 3, 1, 0), bias[:, None] if old else bias[None]
        entry = {"name": layer, "type": "conv", "stride": np.ones((1, 2))}
        if old:
            entry |= {"filters": filters, "biases": biases}
        else:
            weights = np.empty((1, 2), object)
            weights[0, 0], weights[0, 1] = filters, biases
            entry["weights"] = weights
        layers += [entry, {"name": layer.replace("conv", "relu"), "type": "relu"}]
    cells = np.empty((1, len(layers)), object)
    cells[0] = layers
    image = np.reshape(average, (1, 1, -1)) if np.ndim(average) == 1 else average
    normalization = {"averageImage": image, "keepAspect": True}
    classes = {"name": np.array(["n01440764", "n01443537"], object)}
    tables = {"normalization": normalization, "classes": classes}
    savemat(
        path, {"layers": cells, **(tables if old else {"meta": tables})}, do_compression=compress
    )
    return path


def varint(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, data):
    """A field of a protocol buffer: an integer, or bytes with their length."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def caffe_blob(array, old):
    data = np.ascontiguousarray(array, "<f4").tobytes()
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(k, n) for k, n in enumerate(sizes, start=1)) + field(5, data)
    return field(7, field(1, b"".join(map(varint, array.shape)))) + field(5, data)


def write_caffe(path, values, old=True, blob=caffe_blob):
    out = io.BytesIO()
    out.write(field(1, b"VGG_ILSVRC"))
    for layer, arrays in values.items():
        name_field, blob_field, layer_field = (4, 6, 2) if old else (1, 7, 100)
        message = field(2 if old else 3, b"data") + field(name_field, layer.encode())
        message += b"".join(field(blob_field, blob(array, old)) for array in arrays)
        out.write(field(layer_field, message))
        out.write(field(layer_field, field(name_field, layer.replace("conv", "relu").encode())))
    path.write_bytes(out.getvalue())
    return path
