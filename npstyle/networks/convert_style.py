"""Convert published feed-forward style networks to npstyle's `.npz`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.maths.array import Array
from npstyle.maths.layers import Sigmoid
from npstyle.networks.formats.onnx import FoundNetwork, read_style_onnx
from npstyle.networks.formats.onnx_graph import is_onnx
from npstyle.networks.style_network import StyleNetwork, load_style_network, save_style_network
from npstyle.networks.weights import SUFFIXES

PUBLISHED = {
    "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d": (
        "Magenta's arbitrary image stylization, TensorFlow Hub (Ghiasi et al. 2017)"
    ),
    "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e": (
        "TensorFlow's Android demo of style transfer (Dumoulin et al. 2017)"
    ),
}
"""Origin of known files by their SHA-256; all of them are under the Apache licence 2.0."""


def reads_as_style_network(source: Path) -> bool:
    """Whether a file has a format that style networks are published in."""
    try:
        with source.open("rb") as file:
            return is_onnx(file.read(3))
    except OSError:
        return False  # the reader of other weights says why


def convert_style_network(sources: Sequence[Path], destination: Path) -> StyleNetwork:
    """Convert a published style network.

    Parameters
    ----------
    sources : one or two paths
        A network with styles of its own, or Magenta's predictor and transformer network (ONNX), in
        any order.
    destination : Path
        The .npz to write. A failure leaves no partial file.

    Returns
    -------
    StyleNetwork
        Loaded from the new file.

    Raises
    ------
    InputError
        If a source is damaged or is no such network, or the destination cannot be written.
    """
    check_destination(destination, SUFFIXES)
    found = {source: read_style_onnx(source) for source in sources}
    transformers = {s: f for s, f in found.items() if isinstance(f.layers[-1], Sigmoid)}
    predictors = {s: f for s, f in found.items() if s not in transformers and not f.reads_code}
    if len(transformers) != 1 or len(predictors) != len(sources) - 1:
        raise InputError(
            f"{', '.join(map(str, sources))}: give one network that paints, with the one that "
            "reads a painting if it needs a code: arbitrary_predict.onnx arbitrary_transform.onnx"
        )
    (transformer,), predictor = transformers.values(), next(iter(predictors.values()), None)
    hashes = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    known = next((PUBLISHED[sha256] for sha256 in hashes if sha256 in PUBLISHED), None)
    network = StyleNetwork(
        name="any_style" if predictor else "multistyle",
        transformer=tuple(transformer.layers),
        predictor=tuple(predictor.layers) if predictor else (),
        code=0,  # counted by the reader of the file
        channel_order="RGB",
        mean=(0.0,) * 3,
        scale=(1 / 255,) * 3,
        output_scale=255.0,
        source=f"{', '.join(source.name for source in sources)} ({known or 'unknown'})",
        license="Apache-2.0" if known else "that of the source",
        source_sha256=", ".join(hashes),
    )
    packed = _named("transformer", transformer)
    if predictor:
        packed |= _named("predictor", predictor)
    save_style_network(destination, network, packed)
    return load_style_network(destination)


def _named(part: str, found: FoundNetwork) -> dict[str, Array]:
    """The packed arrays of a network by their names in the file."""
    return {f"{part}/{name}": array for name, array in found.packed.items()}
