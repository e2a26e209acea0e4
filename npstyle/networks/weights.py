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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.maths.array import Array
from npstyle.networks.architecture import ConvSpec, LayerSpec, parse_layer
from npstyle.networks.archive import (
    Headers,
    check_finite,
    check_origin_and_input,
    is_number,
    read_archive,
    write_archive,
)

FORMAT = 1
SUFFIXES = (".npz",)
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
    is_folder = False
    try:
        if Path(name).is_file():
            return Path(name)
        is_folder = bool(name) and Path(name).is_dir()
    except OSError:  # not a valid file name
        pass
    if name and Path(name).name == name and len(name) < 200:
        file = name if name.endswith(".npz") else f"{name}.npz"
        for folder in _folders():
            if (folder / file).is_file():
                return folder / file
    if is_folder:
        raise InputError(f"network {name}: is a folder; name a weights file in it")
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

    def parse(meta: Any, headers: Headers) -> Weights:
        weights = _parse_meta(path, meta)
        _check_headers(path, weights.layers, headers)
        return weights

    weights, tensors = read_archive(path, parse)
    check_finite(path, tensors)
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
    write_archive(path, meta, weights.tensors)


def check_tensors(path: Path, layers: Sequence[LayerSpec], tensors: Mapping[str, Array]) -> None:
    """Raise InputError, naming `path`, unless the tensors are finite and fit the layers."""
    headers = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    _check_headers(path, layers, headers)
    check_finite(path, tensors)


def _parse_meta(path: Path, meta: Any) -> Weights:
    """Return weights without tensors from the decoded `meta`, after checking every field."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        if isinstance(found, str) and found.startswith("style network"):
            raise InputError(
                f"{path}: is a style network, which paints in one pass; use it with `npstyle "
                "stylize`, and a VGG here"
            )
        raise InputError(
            f"{path}: `meta` gives format {found!r}, but this version reads format {FORMAT}"
        )
    check_origin_and_input(path, meta)
    if not isinstance(meta.get("normalized", False), bool):
        raise InputError(f"{path}: `meta` must give true or false for normalized")
    check = meta.get("check", {})
    if not (isinstance(check, dict) and all(map(is_number, check.values()))):
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
