"""Convert the weights files of other programs to npstyle's `.npz`.

The first bytes of a file decide its format, not its name, and a module of
`npstyle.networks.formats` reads it. This module compares the convolutions with the architectures of
VGG. The `.npz` also stores the channel order, the mean and the scale, so a picture gives the same
activations as in the program that wrote the file. `npstyle.networks.conventions` checks by the
numbers that they fit.
"""

import hashlib
from pathlib import Path

import numpy as np

from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.networks.architecture import VGG_BLOCKS, ConvSpec, LayerSpec, vgg_table
from npstyle.networks.conventions import decide, has_unit_means
from npstyle.networks.formats.caffe import is_caffe, read_caffe
from npstyle.networks.formats.found import OXFORD_LICENSE, Found
from npstyle.networks.formats.keras import HDF5_SIGNATURE, read_keras
from npstyle.networks.formats.matconvnet import MAT_HDF5_SIGNATURE, MAT_SIGNATURE, read_matconvnet
from npstyle.networks.formats.state_dict import find_convolutions
from npstyle.networks.formats.tensor_file import has_tensors, read_tensors
from npstyle.networks.formats.unknown import START_BYTES, what_it_is
from npstyle.networks.formats.zips import ZIP_SIGNATURES, read_zip
from npstyle.networks.verify import with_check
from npstyle.networks.weights import SUFFIXES, Weights, check_tensors, load_weights, save_weights

NAMES = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}
"""Names of the supported networks, by their letter in VGG's table 1."""

MIN_BYTES = 64
"""Length in bytes below which no file is that of a network, except files of tensors."""


def convert(source: str | Path, destination: str | Path, asked: str | None = None) -> Weights:
    """Convert a published weights file.

    Parameters
    ----------
    source : str or Path
        A VGG from Keras (.h5, .weights.h5, .keras), PyTorch (.pth), safetensors, NumPy (.npz),
        MatConvNet (.mat) or Caffe (.caffemodel).
    destination : str or Path
        The .npz to write. A failure leaves no partial file.
    asked : "bgr", "rgb255" or "rgb", optional
        The input of the network, if it is known; see `npstyle.networks.conventions`. By default,
        the numbers and the layout of the file decide.

    Returns
    -------
    Weights
        Loaded from the new file.

    Raises
    ------
    InputError
        If the source is damaged, is none of these, or contains code to execute, if the input of the
        network is neither known nor given, or if the destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    check_destination(destination, SUFFIXES)
    save_weights(destination, with_check(read_foreign(source, asked)))
    return load_weights(destination)


def read_foreign(source: Path, asked: str | None = None) -> Weights:
    """Read a weights file of any supported format; raise the same errors as `convert`."""
    if not source.is_file():
        raise InputError(f"{source}: no such file; check the name")
    try:
        with source.open("rb") as file:
            start = file.read(START_BYTES)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return _checked(source, _read(source, start), sha256, asked)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error


def _read(source: Path, start: bytes) -> Found:
    """Read a file with the reader that its first bytes select."""
    words = what_it_is(start)
    if words is not None and not has_tensors(start):
        raise InputError(f"{source}: {words}")
    if start.startswith(ZIP_SIGNATURES):
        return read_zip(source)
    if has_tensors(start):
        return read_tensors(source, start, find_convolutions)
    if len(start) >= MIN_BYTES:
        if start.startswith(HDF5_SIGNATURE):
            return read_keras(source)
        if start.startswith(MAT_SIGNATURE):
            return read_matconvnet(source)
        if start.startswith(MAT_HDF5_SIGNATURE):
            raise InputError(
                f"{source}: is a MATLAB file of version 7.3, which cannot be read; load it in "
                "MATLAB or Octave and save it with -v7"
            )
        if is_caffe(start):
            return read_caffe(source)
    raise InputError(
        f"{source}: is not a weights file that can be read; use a VGG from Keras (.h5, .keras), "
        "PyTorch (.pth), safetensors, NumPy (.npz), MatConvNet (.mat) or Caffe (.caffemodel)"
    )


def _checked(source: Path, found: Found, sha256: str, asked: str | None) -> Weights:
    """Return the weights if they are those of a VGG; raise InputError otherwise."""
    name, layers = _architecture(source, found)
    tensors = {}
    for layer in sorted(found.kernels):
        kernel, bias = found.kernels[layer], found.biases[layer]
        if kernel.shape[2:] != (3, 3):
            raise InputError(
                f"{source}: the kernel of {layer} has shape {kernel.shape} as (out, in, height, "
                "width), but VGG's are 3x3; the file is transposed, damaged or not a VGG"
            )
        if not (np.all(np.isfinite(kernel)) and np.all(np.isfinite(bias))):
            raise InputError(
                f"{source}: {layer} contains NaN or infinity; the file is damaged, get it again"
            )
        tensors[f"{layer}.weight"], tensors[f"{layer}.bias"] = kernel, bias
    check_tensors(source, layers, tensors)
    preprocessing, same_training = decide(source, layers, found, asked)
    publisher, license = found.publisher, found.license
    if preprocessing != found.preprocessing:
        how = "given by --input" if asked else "found by its numbers"
        publisher += f"; input {how}"
    if same_training and license != OXFORD_LICENSE:
        publisher, license = f"numbers of Simonyan and Zisserman; {publisher}", OXFORD_LICENSE
    return Weights(
        name=name,
        layers=layers,
        tensors=tensors,
        channel_order=preprocessing.channel_order,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
        source=f"{source.name} ({publisher})",
        license=license,
        source_sha256=sha256,
        normalized=has_unit_means(layers, found, preprocessing),
    )


def _architecture(source: Path, found: Found) -> tuple[str, tuple[LayerSpec, ...]]:
    """Return the name and the layers of the VGG that has the convolutions found."""
    counts = tuple(
        sum(name.startswith(f"conv{block}_") for name in found.kernels) for block in range(1, 6)
    )
    letter = next((a for a in NAMES if VGG_BLOCKS[a] == counts), None)
    layers = vgg_table(letter) if letter else ()
    expected = {layer.name for layer in layers if isinstance(layer, ConvSpec)}
    if letter is None or set(found.kernels) != expected:
        known = "; ".join(f"{name} has {VGG_BLOCKS[a]}" for a, name in NAMES.items())
        raise InputError(
            f"{source}: has {counts} convolutions in the blocks 1 to 5, but {known}; the file is "
            "incomplete or not a VGG"
        )
    return NAMES[letter], layers
