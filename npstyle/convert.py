"""Other programs' files of weights, brought to npstyle's `.npz`.

Keras (HDF5)
    Keras Applications publishes VGG-16 and VGG-19 as one group per layer, `block1_conv1`, with a
    kernel (kernel height, kernel width, in, out) and a bias (out,). The input is BGR, 0..255, with
    the mean colour of ImageNet subtracted. The classifier's layers, where present, are left out.

A file is recognised by its content, not by its name.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.architecture import ConvSpec, vgg_architecture
from npstyle.errors import InputError
from npstyle.files import check_destination
from npstyle.weights import MAX_BYTES, SUFFIXES, Weights, load_weights, save_weights

Array = NDArray[Any]

BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions per block of the networks that can be read."""

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def convert(source: str | Path, destination: str | Path) -> Weights:
    """Convert a published file of weights.

    Parameters
    ----------
    source : str or Path
        Keras' VGG-16 or VGG-19 (.h5), with or without the classifier.
    destination : str or Path
        The .npz to write; whole or not at all.

    Returns
    -------
    Weights
        As read back from the file written.

    Raises
    ------
    InputError
        If the source is none of these, or damaged, or the destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    check_destination(destination, SUFFIXES)
    if not source.is_file():
        raise InputError(f"{source}: there is no such file to convert")
    try:
        with source.open("rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error
    if start != HDF5_SIGNATURE:
        raise InputError(
            f"{source}: is no HDF5 file; give Keras' published VGG-16 or VGG-19 weights (.h5)"
        )
    save_weights(destination, _read_keras(source, sha256))
    return load_weights(destination)


def _read_keras(source: Path, sha256: str) -> Weights:
    arrays = _keras_arrays(source)
    counts: dict[int, int] = {}
    for block, _ in arrays:
        counts[block] = counts.get(block, 0) + 1
    found = tuple(counts.get(block, 0) for block in range(1, 6))
    name = next((name for name, blocks in BLOCKS.items() if blocks == found), None)
    if name is None:
        raise InputError(
            f"{source}: has {found} convolutions in the blocks 1 to 5; VGG-16 has "
            f"{BLOCKS['vgg16']}, VGG-19 {BLOCKS['vgg19']}: the file is incomplete or no VGG"
        )
    layers = vgg_architecture(BLOCKS[name])
    tensors: dict[str, Array] = {}
    for layer in layers:
        if isinstance(layer, ConvSpec):
            block, number = map(int, layer.name.removeprefix("conv").split("_"))
            parts = arrays.get((block, number), [])
            kernels = [part for part in parts if part.ndim == 4]
            biases = [part for part in parts if part.ndim == 1]
            if len(kernels) != 1 or len(biases) != 1 or len(parts) != 2:
                shapes = [part.shape for part in parts]
                raise InputError(
                    f"{source}: block{block}_conv{number} holds arrays of shapes {shapes}; "
                    "expected one kernel (height, width, in, out) and one bias (out,)"
                )
            if not all(np.all(np.isfinite(part)) for part in parts):
                raise InputError(
                    f"{source}: block{block}_conv{number} holds NaN or infinity; "
                    "the file is damaged"
                )
            tensors[f"{layer.name}.weight"] = kernels[0].transpose(3, 2, 0, 1)
            tensors[f"{layer.name}.bias"] = biases[0]
            if kernels[0].shape[:2] != (3, 3):
                raise InputError(
                    f"{source}: the kernel of block{block}_conv{number} has shape "
                    f"{kernels[0].shape}; VGG's are (3, 3, in, out)"
                )
    return Weights(
        name=name,
        layers=layers,
        tensors=tensors,
        channel_order="BGR",
        mean=CAFFE_MEAN_BGR,
        scale=(1.0, 1.0, 1.0),
        source=f"{source.name}: Keras Applications' copy of Simonyan and Zisserman's {name}",
        license="CC BY 4.0, Visual Geometry Group, University of Oxford",
        source_sha256=sha256,
    )


def _keras_arrays(source: Path) -> dict[tuple[int, int], list[Array]]:
    """The arrays of every group blockB_convN, by (B, N), whatever the groups inside are called."""
    import h5py

    arrays: dict[tuple[int, int], list[Array]] = {}
    declared = [0]

    def visit(path: str, item: Any) -> None:
        match = re.search(r"(?:^|/)block(\d)_conv(\d)/", path)
        if match and isinstance(item, h5py.Dataset):
            declared[0] += item.nbytes
            if item.dtype.kind != "f" or declared[0] > MAX_BYTES:
                raise InputError(
                    f"{source}: {path} is {item.shape} of {item.dtype}, no VGG weights"
                )
            key = int(match[1]), int(match[2])
            arrays.setdefault(key, []).append(np.asarray(item[()]))

    try:
        with h5py.File(source, "r") as file:
            file.visititems(visit)
    except InputError:
        raise
    except Exception as error:  # damaged HDF5 makes h5py raise nearly anything
        raise InputError(f"{source}: the HDF5 file is damaged or truncated ({error})") from error
    return arrays
