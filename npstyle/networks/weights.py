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
    check           mean activations of a generated picture, by layer; see `npstyle.networks.verify`

Nothing is ever unpickled, and the declared sizes are checked before anything is read.
"""

import dataclasses
import hashlib
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.networks.architecture import ConvSpec, LayerSpec, parse_layer

Array = NDArray[Any]

FORMAT = 1
SUFFIXES = (".npz",)
MAX_BYTES = 2 << 30
"""More than any published VGG needs (VGG-19 with its head: 575 MB); a guard for the memory."""

MAX_RATIO = 20
"""More than this compression makes of no weights; a file that declares more is a bomb."""

MAX_META_BYTES = 1 << 20

FETCH_HINT = (
    "`npstyle weights fetch vgg19` downloads VGG-19, and `npstyle weights convert` reads a file "
    "that you have"
)


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
    check : dict of float
        Mean activations of a generated picture, by layer; see `npstyle.networks.verify`.
    sha256 : str
        Of the file they were read from; "" if they were made here.
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
    check: Mapping[str, float] = dataclasses.field(default_factory=dict)
    sha256: str = ""


def user_data_dir() -> Path:
    """Folder of this user's own networks."""
    import platformdirs  # only where the folder is asked for

    return platformdirs.user_data_path("npstyle")


def _folders() -> Iterator[Path]:
    """Where names are looked up: here, the checkout, the user's own, what came with the package."""
    package = Path(__file__).resolve().parents[1]
    yield Path("weights")
    yield package.parent / "weights"
    yield user_data_dir()
    yield package / "data"


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
    try:
        if Path(name).is_file():
            return Path(name)
    except OSError:  # a name that no file can have
        pass
    if name and Path(name).name == name and len(name) < 200:
        file = name if name.endswith(".npz") else f"{name}.npz"
        for folder in _folders():
            if (folder / file).is_file():
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
        The tensors in the precision of the file.

    Raises
    ------
    InputError
        If the file is missing, no archive, truncated, or anything in it is not as it should be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of weights")
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _headers(path, archive)
            meta = _read_meta(path, archive, headers)
            weights = _parse_meta(path, meta)
            _check_headers(path, weights.layers, headers)
            tensors = {name: _read(path, archive, name) for name in headers if name != "meta"}
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path}: not an .npz file of weights, or a truncated one; to bring another format to "
            "it run `npstyle weights convert`"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # A hostile file can make zipfile, its decompressors and NumPy's header parser raise
        # nearly anything; whatever it is, the file is at fault.
        raise InputError(
            f"{path}: the file of weights is damaged ({type(error).__name__}: {error})"
        ) from error
    _check_finite(path, tensors)
    return replace(weights, tensors=tensors, sha256=_sha256(path))


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write a file of weights, whole or not at all, the same bytes each time.

    Raises
    ------
    InputError
        If the weights are not valid or the file cannot be written.
    """
    path = Path(path)
    check_destination(path, SUFFIXES)
    check_tensors(path, weights.layers, weights.tensors)
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
        "check": dict(weights.check),
    }
    _parse_meta(path, meta)
    arrays = {"meta": np.array(json.dumps(meta)), **weights.tensors}
    with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A fixed date: the same weights make the same file.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            if array.dtype == np.float16:  # kept small on purpose
                member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.ascontiguousarray(array).reshape(array.shape))


def check_tensors(path: Path, layers: Sequence[LayerSpec], tensors: Mapping[str, Array]) -> None:
    """Raise InputError, naming `path`, if these are not the finite tensors of these layers."""
    headers = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    _check_headers(path, layers, headers)
    _check_finite(path, tensors)


Headers = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


def _headers(path: Path, archive: zipfile.ZipFile) -> Headers:
    """Shape and dtype of every array, from its first bytes; refuses what lies about its size."""
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    total = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in headers:
            raise InputError(f"{path}: holds {member.filename!r}, which no file of weights does")
        try:
            with archive.open(member) as stream:
                shape, dtype = _read_header(stream)
                data_bytes = member.file_size - stream.tell()
        except Exception as error:  # see load_weights
            raise InputError(f"{path}: the array {name} is damaged ({error})") from error
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
        total += data_bytes
        headers[name] = (shape, dtype)
    largest = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
    if total > largest:
        raise InputError(
            f"{path}: declares {total / 1e9:.1f} GB of weights, where a file of its size holds "
            f"less than {largest / 1e9:.1f} GB"
        )
    return headers


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version != (1, 0):  # later versions are for headers of more than 64 KiB
        raise ValueError(f".npy version {version}")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    return shape, dtype


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    try:
        with archive.open(f"{name}.npy") as stream:
            array: Array = npy.read_array(stream, allow_pickle=False)
            stream.read(1)  # reaching the end makes zipfile compare the checksum
    except Exception as error:  # see load_weights
        raise InputError(f"{path}: the array {name} is damaged ({error})") from error
    return array


def _read_meta(path: Path, archive: zipfile.ZipFile, headers: Headers) -> Any:
    if "meta" not in headers:
        raise InputError(
            f"{path}: has no `meta`, so it is no file of weights of npstyle; "
            "make one with `npstyle weights convert`"
        )
    shape, dtype = headers["meta"]
    if shape != () or dtype.kind != "U" or dtype.itemsize > MAX_META_BYTES:
        raise InputError(f"{path}: `meta` must be one short JSON text, it is {shape} of {dtype}")
    try:
        return json.loads(str(_read(path, archive, "meta")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: `meta` is no valid JSON ({error})") from error


def _parse_meta(path: Path, meta: Any) -> Weights:
    """Weights without tensors from the decoded `meta`, every field checked."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise InputError(
            f"{path}: `meta` says format {found!r}, this version reads format {FORMAT}"
        )
    for field in ("name", "source", "license", "source_sha256"):
        if not isinstance(meta.get(field), str):
            raise InputError(f"{path}: `meta` must give a text for {field}")
    if meta.get("channel_order") not in ("RGB", "BGR"):
        raise InputError(f'{path}: `meta` must give "RGB" or "BGR" for channel_order')
    for field in ("mean", "scale"):
        values = meta.get(field)
        if not (isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))):
            raise InputError(f"{path}: `meta` must give three finite numbers for {field}")
    if not isinstance(meta.get("normalized", False), bool):
        raise InputError(f"{path}: `meta` must give true or false for normalized")
    check = meta.get("check", {})
    if not (isinstance(check, dict) and all(map(_is_number, check.values()))):
        raise InputError(f"{path}: `meta` must give finite numbers by layer for check")
    architecture = meta.get("architecture")
    if not isinstance(architecture, list) or not architecture:
        raise InputError(f"{path}: `meta` must list the layers in `architecture`")
    layers = tuple(parse_layer(path, entry) for entry in architecture)
    names = [layer.name for layer in layers]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: the architecture has two layers named {name}")
    return Weights(
        name=meta["name"],
        layers=layers,
        tensors={},
        channel_order=meta["channel_order"],
        mean=tuple(map(float, meta["mean"])),
        scale=tuple(map(float, meta["scale"])),
        source=meta["source"],
        license=meta["license"],
        source_sha256=meta["source_sha256"],
        normalized=meta.get("normalized", False),
        check=check,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_headers(path: Path, layers: Sequence[LayerSpec], headers: Headers) -> None:
    """Every convolution has weight and bias of fitting shapes, and there is nothing else."""
    expected = {"meta"}
    channels = 3
    for layer in layers:
        if not isinstance(layer, ConvSpec):
            continue
        weight_name, bias_name = f"{layer.name}.weight", f"{layer.name}.bias"
        for name in (weight_name, bias_name):
            if name not in headers:
                raise InputError(f"{path}: the array {name} of layer {layer.name} is missing")
            dtype = headers[name][1]
            if dtype not in (np.float16, np.float32, np.float64):
                raise InputError(
                    f"{path}: the array {name} is {dtype}; it must be float16, 32 or 64"
                )
        weight, bias = headers[weight_name][0], headers[bias_name][0]
        if len(weight) != 4 or weight[1] != channels or 0 in weight:
            raise InputError(
                f"{path}: the array {weight_name} has shape {weight}; "
                f"it must be (out, {channels}, kernel height, kernel width)"
            )
        if bias != weight[:1]:
            raise InputError(
                f"{path}: the array {bias_name} has shape {bias}; it must be {weight[:1]}"
            )
        channels = weight[0]
        expected |= {weight_name, bias_name}
    for name in headers:
        if name not in expected:
            raise InputError(f"{path}: the array {name} belongs to no layer of the architecture")
    if expected == {"meta"}:
        raise InputError(f"{path}: the architecture has no convolution")


def _check_finite(path: Path, tensors: Mapping[str, Array]) -> None:
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise InputError(f"{path}: the array {name} holds NaN or infinity; the file is damaged")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
