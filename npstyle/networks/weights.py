"""Weights files: one `.npz` per network. The reader does not trust them.

For each convolution the archive contains `conv1_1.weight` (out, in, kernel height, kernel width)
and `conv1_1.bias` (out,), in float16, float32 or float64. `meta` is a 0-d array with a JSON text:

    format          1
    name            "vgg19"
    architecture    the layers in order, each one of
                    {"kind": "conv", "name": "conv1_1", "stride": 1, "padding": 1}
                    {"kind": "relu", "name": "relu1_1"}
                    {"kind": "pool", "name": "pool1", "size": 2, "stride": 2}
    channel_order   "RGB" or "BGR"
    mean, scale     network input = (pixels 0..255 in that order - mean) * scale
    source, license, source_sha256
    normalized      true if the mean activation of every filter is 1
    check           mean activations of a generated picture, by layer; see `npstyle.networks.verify`

Nothing is ever unpickled, and the declared sizes are checked before any data is read.
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

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.maths.array import Array
from npstyle.networks.architecture import ConvSpec, LayerSpec, parse_layer

FORMAT = 1
SUFFIXES = (".npz",)
MAX_BYTES = 2 << 30
"""Bytes of tensors beyond which a file is refused. VGG-19 with its dense layers has 575 MB."""

MAX_RATIO = 20
"""Ratio of tensors to file size beyond which a file is refused: weights compress less."""

MAX_META_BYTES = 1 << 20
"""Bytes of `meta` in memory beyond which a file is refused."""

FETCH_HINT = (
    "`npstyle weights fetch vgg19` downloads VGG-19, and `npstyle weights convert` reads a file "
    "that you have"
)


@dataclass(frozen=True)
class Weights:
    """The contents of a weights file.

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
        Origin of the numbers.
    normalized : bool
        True if the mean activation of every filter is 1.
    check : dict of float
        Mean activations of a generated picture, by layer; see `npstyle.networks.verify`.
    sha256 : str
        Hash of the file that they were loaded from; "" if they were not loaded.
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
    """Return the folder of the user's networks."""
    import platformdirs  # slow to import and rarely needed

    return platformdirs.user_data_path("npstyle")


def _folders() -> Iterator[Path]:
    """Yield the folders to search: `weights/`, the checkout's, the user's, the package's."""
    package = Path(__file__).resolve().parents[1]
    yield Path("weights")
    yield package.parent / "weights"
    yield user_data_dir()
    yield package / "data"


def find_weights(name: str) -> Path:
    """Find a weights file by its path, or by its name in `weights/` or the user's data directory.

    Parameters
    ----------
    name : str
        A path, or a name such as "vgg19" or "vgg19.npz".

    Raises
    ------
    InputError
        If there is none. The message lists the folders that were searched.
    """
    try:
        if Path(name).is_file():
            return Path(name)
    except OSError:  # not a valid file name
        pass
    if name and Path(name).name == name and len(name) < 200:
        file = name if name.endswith(".npz") else f"{name}.npz"
        for folder in _folders():
            if (folder / file).is_file():
                return folder / file
    places = ", ".join(str(folder) for folder in _folders())
    raise InputError(
        f"network {name}: no such file, and no file of this name in {places}; {FETCH_HINT}"
    )


def default_weights() -> Path:
    """Return the path of VGG-19 if it is installed, else of the built-in network."""
    try:
        return find_weights("vgg19.npz")
    except InputError:
        return find_weights("builtin.npz")


def load_weights(path: str | Path) -> Weights:
    """Read and validate a weights file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Weights
        With the tensors in the precision of the file.

    Raises
    ------
    InputError
        If the file is missing, truncated, or not a valid weights file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
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
            f"{path}: is not an .npz weights file, or is truncated; for another format run "
            "`npstyle weights convert`"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # A hostile file can make zipfile, its decompressors and NumPy's header parser raise
        # almost any exception. The cause is always the file.
        raise InputError(
            f"{path}: is damaged ({type(error).__name__}: {error}); fetch or convert it again"
        ) from error
    _check_finite(path, tensors)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(weights, tensors=tensors, sha256=sha256)


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write a weights file. A failure leaves no partial file.

    The same weights always give the same bytes.

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
            # A fixed date, so that the same weights give the same bytes.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            if array.dtype == np.float16:  # stored in half precision to be small
                member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.ascontiguousarray(array).reshape(array.shape))


def check_tensors(path: Path, layers: Sequence[LayerSpec], tensors: Mapping[str, Array]) -> None:
    """Raise InputError, naming `path`, unless the tensors are finite and fit the layers."""
    headers = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    _check_headers(path, layers, headers)
    _check_finite(path, tensors)


Headers = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


def _headers(path: Path, archive: zipfile.ZipFile) -> Headers:
    """Return shape and dtype of every array from its header; refuse arrays of another size."""
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    total = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in headers:
            raise InputError(
                f"{path}: contains {member.filename!r}, which is not part of a weights file"
            )
        try:
            with archive.open(member) as stream:
                shape, dtype = _read_header(stream)
                data_bytes = member.file_size - stream.tell()
        except Exception as error:  # see load_weights
            raise InputError(f"{path}: the array {name} is damaged ({error})") from error
        if dtype.hasobject:
            raise InputError(
                f"{path}: the array {name} contains pickled Python objects, which could run any "
                "code; use a file without them"
            )
        if math.prod(shape) * dtype.itemsize != data_bytes:
            raise InputError(
                f"{path}: the array {name} declares {shape} of {dtype} but has {data_bytes} "
                "bytes; the file is damaged, fetch or convert it again"
            )
        total += data_bytes
        headers[name] = (shape, dtype)
    largest = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
    if total > largest:
        raise InputError(
            f"{path}: declares {total / 1e9:.1f} GB of weights, but a file of its size has less "
            f"than {largest / 1e9:.1f} GB; use another file"
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
            f"{path}: has no `meta`, so it is not a weights file of npstyle; "
            "make one with `npstyle weights convert`"
        )
    shape, dtype = headers["meta"]
    if shape != () or dtype.kind != "U" or dtype.itemsize > MAX_META_BYTES:
        raise InputError(f"{path}: `meta` must be one short JSON text, but is {shape} of {dtype}")
    try:
        return json.loads(str(_read(path, archive, "meta")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: `meta` is not valid JSON ({error})") from error


def _parse_meta(path: Path, meta: Any) -> Weights:
    """Return weights without tensors from the decoded `meta`, after checking every field."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise InputError(
            f"{path}: `meta` gives format {found!r}, but this version reads format {FORMAT}"
        )
    for field in ("name", "source", "license", "source_sha256"):
        if not isinstance(meta.get(field), str):
            raise InputError(f"{path}: `meta` must give a string for {field}")
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
    """Check that the arrays are the kernels and biases of the convolutions and fit together."""
    expected = {"meta"}
    channels = 3
    for layer in layers:
        if not isinstance(layer, ConvSpec):
            continue
        kernel_name, bias_name = f"{layer.name}.weight", f"{layer.name}.bias"
        for name in (kernel_name, bias_name):
            if name not in headers:
                raise InputError(f"{path}: the array {name} of layer {layer.name} is missing")
            dtype = headers[name][1]
            if dtype not in (np.float16, np.float32, np.float64):
                raise InputError(
                    f"{path}: the array {name} is {dtype}; it must be float16, 32 or 64"
                )
        kernel, bias = headers[kernel_name][0], headers[bias_name][0]
        if len(kernel) != 4 or kernel[1] != channels or 0 in kernel:
            raise InputError(
                f"{path}: the array {kernel_name} has shape {kernel}; "
                f"it must be (out, {channels}, kernel height, kernel width)"
            )
        if bias != kernel[:1]:
            raise InputError(
                f"{path}: the array {bias_name} has shape {bias}; it must be {kernel[:1]}"
            )
        channels = kernel[0]
        expected |= {kernel_name, bias_name}
    for name in headers:
        if name not in expected:
            raise InputError(f"{path}: the array {name} belongs to no layer of the architecture")
    if expected == {"meta"}:
        raise InputError(f"{path}: the architecture has no convolution")


def _check_finite(path: Path, tensors: Mapping[str, Array]) -> None:
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise InputError(f"{path}: the array {name} contains NaN or infinity; convert it again")
