"""Files of weights: one `.npz` per network, read without trusting it.

The archive holds, per convolution, `conv1_1.weight` (out, in, kernel height, kernel width) and
`conv1_1.bias` (out,), in float16, float32 or float64, and `meta`, a JSON text as a 0-d array:

    format          1
    name            "vgg19"
    architecture    the layers in order, each one of
                    {"kind": "conv", "name": "conv1_1", "stride": 1, "padding": 1}
                    {"kind": "relu", "name": "relu1_1"}
                    {"kind": "pool", "name": "pool1", "size": 2, "stride": 2}
    channel_order   "RGB" or "BGR"
    mean, scale     network input = (pixels 0..255 in that order - mean) * scale
    source, license, source_sha256
    normalized      true if every filter's mean activation is 1

Nothing is ever unpickled, and the declared sizes are checked before anything is read.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs
from numpy.lib import format as npy
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole

Array = NDArray[Any]

FORMAT = 1
SUFFIXES = (".npz",)
MAX_BYTES = 4 << 30
"""More than any published VGG needs (VGG-19 with its head: 575 MB); a guard for the memory."""
MAX_META_BYTES = 1 << 20
"""`meta` of VGG-19 takes 12 kB; decoded JSON takes many times the memory of its text."""

FETCH_HINT = (
    "for VGG-19 download Keras Applications' file and run `npstyle weights convert "
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 weights/vgg19.npz`"
)


@dataclass(frozen=True)
class ConvSpec:
    """A convolution; kernel size and channels are those of its tensors."""

    name: str
    stride: int
    padding: int
    kind: Literal["conv"] = "conv"


@dataclass(frozen=True)
class ReluSpec:
    """A rectifier."""

    name: str
    kind: Literal["relu"] = "relu"


@dataclass(frozen=True)
class PoolSpec:
    """A pooling layer: window `size` x `size`."""

    name: str
    size: int
    stride: int
    kind: Literal["pool"] = "pool"


LayerSpec = ConvSpec | ReluSpec | PoolSpec


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes
    ----------
    name : str
    layers : tuple of LayerSpec
        The architecture, in order.
    tensors : dict of arrays
        "conv1_1.weight" (out, in, kernel height, kernel width) and "conv1_1.bias" (out,), ...
    channel_order : "RGB" or "BGR"
    mean, scale : three floats
        Network input = (pixels 0..255 in `channel_order` - mean) * scale.
    source, license, source_sha256 : str
        Where the numbers come from.
    normalized : bool
        True if every filter's mean activation is 1.
    sha256 : str
        Of the file they were read from; "" if they were made here.
    path : Path or None
        The file they were read from.
    """

    name: str
    layers: tuple[LayerSpec, ...]
    tensors: Mapping[str, Array]
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    source: str
    license: str
    source_sha256: str
    normalized: bool = False
    sha256: str = ""
    path: Path | None = None


def vgg_architecture(blocks: Sequence[int]) -> tuple[LayerSpec, ...]:
    """Layers of a VGG network with this many 3x3 convolutions in each block (VGG-19: 2 2 4 4 4).

    Source: Simonyan and Zisserman, "Very deep convolutional networks" (arXiv 1409.1556), table 1.
    """
    layers: list[LayerSpec] = []
    for block, count in enumerate(blocks, start=1):
        for n in range(1, count + 1):
            layers.append(ConvSpec(f"conv{block}_{n}", stride=1, padding=1))
            layers.append(ReluSpec(f"relu{block}_{n}"))
        layers.append(PoolSpec(f"pool{block}", size=2, stride=2))
    return tuple(layers)


def vgg19_architecture() -> tuple[LayerSpec, ...]:
    """Layers of VGG-19: 16 convolutions, each with its rectifier, and 5 pools."""
    return vgg_architecture((2, 2, 4, 4, 4))


def user_data_dir() -> Path:
    """Folder of this user's own networks."""
    return platformdirs.user_data_path("npstyle")


def _folders() -> list[Path]:
    """Where names are looked up: here, the checkout, the user's own, what came with the package."""
    package = Path(__file__).resolve().parent
    return [Path("weights"), package.parent / "weights", user_data_dir(), package / "data"]


def find_weights(name: str) -> Path:
    """Find a file of weights by path, or by name in `weights/` and the user's data directory.

    Parameters
    ----------
    name : str
        A path, or a name such as "vgg19" or "vgg19.npz".

    Raises
    ------
    InputError
        If there is none; the message says where it was looked for.
    """
    if os.path.isfile(name):  # unlike Path.is_file, no exception for a name that is too long
        return Path(name)
    if Path(name).name == name:
        file = name if name.endswith(".npz") else f"{name}.npz"
        for folder in _folders():
            if os.path.isfile(folder / file):
                return folder / file
    places = ", ".join(str(folder) for folder in _folders())
    raise InputError(
        f"network {name}: no such file, and none of this name in {places}; {FETCH_HINT}"
    )


def default_weights() -> Path:
    """VGG-19 where it is installed, else the built-in network."""
    try:
        return find_weights("vgg19.npz")
    except InputError:
        return find_weights("builtin.npz")


def load_weights(path: str | Path) -> Weights:
    """Read and validate a file of weights.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Weights
        The tensors in the shapes (out, in, kernel height, kernel width) and (out,) and in the
        precision of the file: float16, float32 or float64.

    Raises
    ------
    InputError
        If the file is missing, no archive, truncated, or anything in it is not as it should be.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; name the file of weights in it")
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no such file of weights")
    try:
        with zipfile.ZipFile(path) as archive:
            names = _checked_names(path, archive)
            meta = _read_meta(path, archive, names)
            tensors = {name: _read(path, archive, name) for name in names if name != "meta"}
        sha256 = _sha256(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # zipfile raises many kinds of errors on damaged files
        raise InputError(
            f"{path}: not an .npz file of weights, or a truncated one; to bring another format to "
            "it run `npstyle weights convert`"
        ) from error
    weights = Weights(
        name=meta.get("name"),
        layers=_parse_layers(path, meta),
        tensors=tensors,
        channel_order=meta.get("channel_order"),
        mean=meta.get("mean"),
        scale=meta.get("scale"),
        source=meta.get("source"),
        license=meta.get("license"),
        source_sha256=meta.get("source_sha256"),
        normalized=meta.get("normalized", False),
        sha256=sha256,
        path=path,
    )
    validate(path, weights)
    mean, scale = (tuple(map(float, numbers)) for numbers in (weights.mean, weights.scale))
    return replace(weights, mean=mean, scale=scale)


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write a file of weights, whole or not at all, the same bytes each time.

    Raises
    ------
    InputError
        If the weights are not valid or the file cannot be written.
    """
    path = Path(path)
    check_destination(path, SUFFIXES)
    validate(path, weights)
    meta = {
        "format": FORMAT,
        "name": weights.name,
        "architecture": [asdict(layer) for layer in weights.layers],
        "channel_order": weights.channel_order,
        "mean": list(weights.mean),
        "scale": list(weights.scale),
        "source": weights.source,
        "license": weights.license,
        "source_sha256": weights.source_sha256,
        "normalized": weights.normalized,
    }
    arrays = {"meta": np.array(json.dumps(meta)), **weights.tensors}
    with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A fixed date: the same weights make the same file.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.ascontiguousarray(array).reshape(array.shape))


def validate(path: Path, weights: Weights) -> None:
    """Decide whether weights are valid; loading and saving both ask here and nowhere else.

    Parameters
    ----------
    path : Path
        The file that the message names.
    weights : Weights
        Every field is checked, whatever type it has.

    Raises
    ------
    InputError
        Naming the first field, layer or array that is not as the module says.
    """
    fields: dict[str, Any] = vars(weights)
    for field in ("name", "source", "license", "source_sha256"):
        if not _is_text(fields[field]):
            raise InputError(f"{path}: `meta` must give a printable text for {field}")
    if fields["channel_order"] not in ("RGB", "BGR"):
        raise InputError(f'{path}: `meta` must give "RGB" or "BGR" for channel_order')
    for field in ("mean", "scale"):
        value = fields[field]
        if not (
            isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value))
        ):
            raise InputError(f"{path}: `meta` must give three finite numbers for {field}")
    if not isinstance(fields["normalized"], bool):
        raise InputError(f"{path}: `meta` must give true or false for normalized")
    names: set[str] = set()
    for layer in weights.layers:
        _check_layer(path, layer)
        if layer.name in names:
            raise InputError(f"{path}: the architecture has two layers named {layer.name}")
        names.add(layer.name)
    _check_tensors(path, weights)


def _is_text(value: Any) -> bool:
    # Printable: no control sequences for the terminal, no half characters that nothing can print.
    return isinstance(value, str) and value.isprintable()


def _is_number(value: Any) -> bool:
    # False for NaN and infinity, and for integers too long to become a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _check_layer(path: Path, layer: LayerSpec) -> None:
    if not _is_text(layer.name) or not layer.name:
        raise InputError(f"{path}: the architecture has a layer without a printable name")
    for field, value in vars(layer).items():
        if field in ("name", "kind"):
            continue
        least = 0 if field == "padding" else 1
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1024:
            raise InputError(
                f"{path}: layer {layer.name} has {field} {value!r:.40}; "
                f"it must be a whole number from {least} to 1024"
            )


def _check_tensors(path: Path, weights: Weights) -> None:
    """Every convolution has a weight and a bias that fit, finite, and there is nothing else."""
    expected: set[str] = set()
    channels = 3
    for layer in weights.layers:
        if not isinstance(layer, ConvSpec):
            continue
        pair = (f"{layer.name}.weight", f"{layer.name}.bias")
        for name in pair:
            if name not in weights.tensors:
                raise InputError(f"{path}: the array {name} of layer {layer.name} is missing")
            dtype = weights.tensors[name].dtype
            if dtype not in (np.float16, np.float32, np.float64):
                raise InputError(
                    f"{path}: the array {name} is {dtype}; it must be float16, 32 or 64"
                )
        weight, bias = (weights.tensors[name].shape for name in pair)
        if len(weight) != 4 or weight[1] != channels or 0 in weight:
            raise InputError(
                f"{path}: the array {pair[0]} has shape {weight}; "
                f"it must be (out, {channels}, kernel height, kernel width)"
            )
        if bias != weight[:1]:
            raise InputError(f"{path}: the array {pair[1]} has shape {bias}; must be {weight[:1]}")
        channels = weight[0]
        expected.update(pair)
    if not expected:
        raise InputError(f"{path}: the architecture has no convolution")
    for name, tensor in weights.tensors.items():
        if name not in expected:
            raise InputError(f"{path}: the array {name} belongs to no layer of the architecture")
        if not np.all(np.isfinite(tensor)):
            raise InputError(f"{path}: the array {name} holds NaN or infinity; the file is damaged")


def _checked_names(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays, once no declared size is absurd and none disagrees with its header."""
    total = sum(member.file_size for member in archive.infolist())
    if total > MAX_BYTES:
        raise InputError(
            f"{path}: declares {total / 1e9:.1f} GB of weights; no network that fits here has "
            f"more than {MAX_BYTES / 1e9:.1f} GB"
        )
    names: list[str] = []
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in names or not name.isprintable():
            raise InputError(f"{path}: holds {member.filename!r}, which no file of weights does")
        try:
            with archive.open(member) as stream:
                # Later versions only add longer headers, which could fill the memory themselves.
                if npy.read_magic(stream) != (1, 0):
                    raise ValueError("its .npy version is not 1.0")
                shape, _, dtype = npy.read_array_header_1_0(stream)
                data_bytes = member.file_size - stream.tell()
        except Exception as error:  # NumPy evaluates the header: a dozen kinds of errors
            raise InputError(f"{path}: the array {name} is damaged ({error!s:.200})") from error
        if dtype.hasobject:
            raise InputError(
                f"{path}: the array {name} holds pickled Python objects, which could run any "
                "program; they are never read"
            )
        if math.prod(shape) * dtype.itemsize != data_bytes:
            raise InputError(
                f"{path}: the array {name} declares {shape} of {dtype} and holds {data_bytes} "
                "bytes; the file is damaged"
            )
        names.append(name)
    return names


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    # zipfile stops at the declared size; one byte more lets it meet the true end of the data,
    # where it compares the checksum.
    member = copy(archive.getinfo(f"{name}.npy"))
    member.file_size += 1
    try:
        with archive.open(member) as stream:
            array: Array = npy.read_array(stream, allow_pickle=False)
            if stream.read(1):
                raise ValueError("there is more data than declared")
    except Exception as error:
        raise InputError(f"{path}: the array {name} is damaged ({error!s:.200})") from error
    return array


def _read_meta(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, Any]:
    if "meta" not in names:
        raise InputError(
            f"{path}: has no `meta`, so it is no file of weights of npstyle; "
            "make one with `npstyle weights convert`"
        )
    if archive.getinfo("meta.npy").file_size > MAX_META_BYTES:
        raise InputError(f"{path}: `meta` is larger than {MAX_META_BYTES} bytes")
    text = _read(path, archive, "meta")
    if text.shape != () or text.dtype.kind != "U":
        raise InputError(
            f"{path}: `meta` must be one JSON text, it is {text.shape} of {text.dtype}"
        )
    try:
        meta = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: `meta` is no valid JSON ({error})") from error
    found = meta.get("format") if isinstance(meta, dict) else meta
    if not isinstance(meta, dict) or found != FORMAT:
        raise InputError(
            f"{path}: `meta` says format {found!r:.40}, this version reads format {FORMAT}"
        )
    return meta


def _parse_layers(path: Path, meta: Mapping[str, Any]) -> tuple[LayerSpec, ...]:
    """Layers of the decoded `meta`; their fields are not yet checked."""
    entries = meta.get("architecture")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: `meta` must list the layers in `architecture`")
    kinds: dict[str, type[LayerSpec]] = {"conv": ConvSpec, "relu": ReluSpec, "pool": PoolSpec}
    layers: list[LayerSpec] = []
    for entry in entries:
        try:
            layers.append(kinds[entry["kind"]](**entry))
        except (TypeError, KeyError) as error:  # another kind, or other fields than the kind has
            raise InputError(
                f"{path}: the architecture holds {entry!r:.100}, which is no conv (name, stride, "
                "padding), relu (name) or pool (name, size, stride)"
            ) from error
    return tuple(layers)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
