"""Feed-forward style networks: one pass paints a photo. Their `.npz` files are not trusted.

A style network has a transformer network, which turns a photo into a picture. Its normalisations
may depend on a style code (`npstyle.maths.conditional`), and the code is then either

- a mixture of the styles that the network has learned, one number per style, or
- read from a painting by a second network, the predictor.

The file contains the arrays of both networks under names that begin with "transformer/" and
"predictor/", and in `meta`:

    format          "style network 1"
    name            "any_style"
    transformer     the layers in order; see `npstyle.networks.style_layers`
    predictor       the same, or null
    channel_order   "RGB" or "BGR"
    mean, scale     input of both networks = (pixels 0..255 in that order - mean) * scale
    output_scale    pixels = output of the transformer network * output_scale
    source, license, source_sha256
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.maths.array import Array
from npstyle.networks.archive import (
    check_finite,
    check_origin_and_input,
    is_number,
    read_archive,
    read_meta,
    write_archive,
)
from npstyle.networks.style_layers import (
    Arrays,
    StyleLayer,
    entries_of,
    parse_layers,
    tensors_of,
)
from npstyle.networks.weights import SUFFIXES

FORMAT = "style network 1"


@dataclass(frozen=True)
class StyleNetwork:
    """A feed-forward style network.

    Attributes
    ----------
    name : str
    transformer : tuple of StyleLayer
        Paints. Its arrays are float32, as those of the predictor.
    predictor : tuple of StyleLayer
        Reads a code from a painting; empty if the network has learned its styles.
    code : int
        Length of the style code; 0 if the network has one style.
    channel_order : "RGB" or "BGR"
    mean, scale : three floats
        Input = (pixels 0..255 in `channel_order` - mean) * scale.
    output_scale : float
        Pixels = output of the transformer network * output_scale.
    source, license, source_sha256 : str
        Origin of the numbers.
    sha256 : str
        Hash of the file that it was loaded from; "" if it was not loaded.
    """

    name: str
    transformer: tuple[StyleLayer, ...]
    predictor: tuple[StyleLayer, ...]
    code: int
    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    output_scale: float
    source: str
    license: str
    source_sha256: str
    sha256: str = ""

    @property
    def styles(self) -> int:
        """Number of learned styles; 0 if a code is read from a painting."""
        return 0 if self.predictor else max(1, self.code)


def load_style_network(path: str | Path) -> StyleNetwork:
    """Read and validate a file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not that of a style network.
    """
    path = Path(path)
    meta, tensors = read_archive(path, lambda meta, _: _checked_meta(path, meta))
    check_finite(path, tensors)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _network(path, meta, tensors, sha256)


def is_style_network(path: Path) -> bool:
    """Whether a file says of itself that it is a style network; raises as `load_style_network`."""
    return read_meta(path).get("format") == FORMAT


def save_style_network(
    path: str | Path, network: StyleNetwork, packed: Mapping[str, Array] | None = None
) -> None:
    """Write a file. A failure leaves no partial file.

    Parameters
    ----------
    path : str or Path
    network : StyleNetwork
    packed : dict of arrays, optional
        Arrays by their names in the file that are stored in the place of the network's: of
        another precision, or of int8 with a scale; see `npstyle.networks.style_layers`.

    Raises
    ------
    InputError
        If the network is not valid or the file cannot be written.
    """
    path = Path(path)
    check_destination(path, SUFFIXES)
    meta = {
        "format": FORMAT,
        "name": network.name,
        "transformer": entries_of(network.transformer),
        "predictor": entries_of(network.predictor) or None,
        "channel_order": network.channel_order,
        "mean": list(network.mean),
        "scale": list(network.scale),
        "output_scale": network.output_scale,
        "source": network.source,
        "license": network.license,
        "source_sha256": network.source_sha256,
    }
    tensors = {
        f"{part}/{name}": array
        for part in ("transformer", "predictor")
        for name, array in tensors_of(getattr(network, part))
    }
    tensors |= packed or {}
    check_finite(path, tensors)
    _network(path, _checked_meta(path, meta), tensors, "")
    write_archive(path, meta, tensors)


def _network(path: Path, meta: Any, tensors: Mapping[str, Array], sha256: str) -> StyleNetwork:
    """Build the network; raise InputError unless layers and arrays fit together."""
    arrays = Arrays(path, tensors, "transformer/")
    transformer = parse_layers(arrays, meta["transformer"])
    if arrays.channels != 3:
        raise InputError(
            f"{path}: the transformer network's output has {arrays.channels} channels; a picture "
            "has 3"
        )
    of_predictor = Arrays(path, tensors, "predictor/")
    predictor: tuple[StyleLayer, ...] = ()
    if meta.get("predictor") is not None:
        predictor = parse_layers(of_predictor, meta["predictor"])
        if of_predictor.channels != arrays.code or of_predictor.code:
            raise InputError(
                f"{path}: the predictor's code has {of_predictor.channels} numbers, but the "
                f"transformer network reads {arrays.code}"
            )
    for name in tensors:
        if name not in arrays.used | of_predictor.used:
            raise InputError(f"{path}: the array {name} belongs to no layer of the architecture")
    return StyleNetwork(
        name=meta["name"],
        transformer=transformer,
        predictor=predictor,
        code=arrays.code,
        channel_order=meta["channel_order"],
        mean=tuple(map(float, meta["mean"])),
        scale=tuple(map(float, meta["scale"])),
        output_scale=float(meta["output_scale"]),
        source=meta["source"],
        license=meta["license"],
        source_sha256=meta["source_sha256"],
        sha256=sha256,
    )


def _checked_meta(path: Path, meta: Any) -> Any:
    """Return `meta` if its fields are valid; the layers are checked with their arrays."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(
            f"{path}: is not a style network; for --style convert one with `npstyle weights "
            "convert`, or train one"
        )
    check_origin_and_input(path, meta)
    if not is_number(meta.get("output_scale")):
        raise InputError(f"{path}: `meta` must give a finite number for output_scale")
    return meta
