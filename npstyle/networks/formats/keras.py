"""Read VGG-16 and VGG-19 of Keras Applications (HDF5, or a zip archive of it).

There are three layouts. In each, a convolution has a kernel (kernel height, kernel width, in, out)
and a bias (out,):

published files and whole models (.h5)
    A group such as `block1_conv1` for each layer. The names of the groups inside vary and are
    ignored. A whole model has the layers under `model_weights`, and a model that contains VGG has
    them under the name of VGG.
Keras 3 (.weights.h5)
    `layers/conv2d/vars/0` (kernel) and `1` (bias), `layers/conv2d_1/...`: the layers are counted by
    class. An attribute has the name of the layer, but it is not read: a damaged one could make HDF5
    allocate any memory.
Keras 3 (.keras)
    A zip archive whose member `model.weights.h5` has the layout above.

The network expects BGR, 0..255, minus ImageNet's mean colour. The layers of the classifier and the
state of an optimizer, if any, are left out.

Format: Keras's `src/saving/saving_lib.py` and `src/legacy/saving/legacy_h5_format.py`.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.architecture import VGG_BLOCKS
from npstyle.networks.archive import MAX_BYTES, MAX_RATIO
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, Found
from npstyle.networks.formats.places import only_place

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

WEIGHTS_MEMBER = "model.weights.h5"
"""The member of a .keras archive that has the weights."""

OPTIMIZER = r"(?:.*/)?optimizer(?:_weights)?/"
LEGACY = r"(?P<place>(?:.*?/)??)block(?P<block>\d)_conv(?P<conv>\d)/.*"
KERAS3 = r"(?P<place>(?:.*/)?)conv2d(?:_(?P<count>\d{1,3}))?/vars/[01]"


@dataclass
class _Layer:
    """The arrays of a convolution in the file; its number among those of its class, if known."""

    group: str
    number: int | None = None
    arrays: list[Array] = field(default_factory=list)


def read_keras(source: Path) -> Found:
    """Read a Keras file in HDF5.

    Raises
    ------
    InputError
        If it is damaged, has no VGG or several, or a layer does not have one kernel and one bias.
    """
    return _found(source, source, source.stat().st_size)


def read_keras_archive(source: Path) -> Found:
    """Read a .keras archive; raises the same errors as `read_keras`."""
    try:
        with zipfile.ZipFile(source) as archive:
            member = archive.getinfo(WEIGHTS_MEMBER)
            if member.file_size > min(MAX_BYTES, MAX_RATIO * member.compress_size):
                raise InputError(
                    f"{source}: {WEIGHTS_MEMBER} in it declares {member.file_size} bytes in "
                    f"{member.compress_size}, which cannot be weights; use another file"
                )
            with archive.open(member) as stream:
                data = stream.read(member.file_size)
    except InputError:
        raise
    except Exception as error:  # zipfile raises almost any exception on damaged archives
        raise InputError(
            f"{source}: the Keras archive is damaged or truncated ({error}); download it again"
        ) from error
    return _found(source, io.BytesIO(data), len(data))


def _found(source: Path, file: Path | io.BytesIO, size: int) -> Found:
    """Return the convolutions of the only VGG in an HDF5 file of this size in bytes."""
    places = _layers(source, file, size)
    if not places:
        raise InputError(
            f"{source}: is an HDF5 file without a VGG of Keras (block1_conv1 or "
            "layers/conv2d/vars); use the weights of Keras's VGG16 or VGG19"
        )
    # A model may have convolutions of its own beside those of the VGG in it.
    whole = {place: layers for place, layers in places.items() if len(layers) in _COUNTS}
    place = only_place(source, whole or places, "a VGG of Keras")
    if any(layer.number is not None for layer in places[place].values()) and not whole:
        raise InputError(
            f"{source}: has {len(places[place])} layers of class Conv2D under {place}, but a VGG "
            f"has {', '.join(map(str, sorted(_COUNTS)))}; save the weights of the VGG alone"
        )
    kernels, biases = {}, {}
    for name, layer in places[place].items():
        by_ndim = {part.ndim: part for part in layer.arrays}
        if sorted(part.ndim for part in layer.arrays) != [1, 4]:
            raise InputError(
                f"{source}: {layer.group} contains arrays of shapes "
                f"{[part.shape for part in layer.arrays]} instead of a kernel (height, width, in, "
                "out) and a bias (out,); use the published file"
            )
        kernels[name], biases[name] = by_ndim[4].transpose(3, 2, 0, 1), by_ndim[1]
    return Found(kernels, biases, CAFFE, "Keras Applications", OXFORD_LICENSE)


_COUNTS = {sum(blocks): blocks for blocks in VGG_BLOCKS.values()}
"""Number of convolutions in each block, by the number of all."""


def _named(layers: Mapping[str, _Layer]) -> dict[str, _Layer]:
    """Return layers that are counted by class by VGG's names, if there are as many as in a VGG."""
    ordered = sorted(layers.values(), key=lambda layer: layer.number or 0)
    names = [
        f"conv{block}_{n}"
        for block, count in enumerate(_COUNTS.get(len(ordered), ()), start=1)
        for n in range(1, count + 1)
    ]
    return dict(zip(names, ordered, strict=True)) if names else dict(layers)


def _layers(source: Path, file: Path | io.BytesIO, size: int) -> dict[str, dict[str, _Layer]]:
    """Return the convolutions by their places in the file and by their names."""
    import h5py

    by_name: dict[str, dict[str, _Layer]] = {}
    by_class: dict[str, dict[str, _Layer]] = {}

    def visit(path: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or re.match(OPTIMIZER, path):
            return
        if match := re.fullmatch(LEGACY, path):
            name = f"block{match['block']}_conv{match['conv']}"
            layer = _Layer(name)
            layers = by_name
        elif match := re.fullmatch(KERAS3, path):
            group = path.rsplit("/", 2)[0]
            name, layer, layers = group, _Layer(group, int(match["count"] or 0)), by_class
        else:
            return
        _check(source, path, item, size)
        name = name.replace("block", "conv").replace("_conv", "_")
        found = layers.setdefault(match["place"], {}).setdefault(name, layer)
        found.arrays.append(np.asarray(item[()]))

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except InputError:
        raise
    except Exception as error:  # h5py raises almost any exception on damaged files
        raise InputError(
            f"{source}: the HDF5 file is damaged or truncated ({error}); download it again"
        ) from error
    return {place: _named(layers) for place, layers in by_class.items()} | by_name


def _check(source: Path, path: str, item: Any, size: int) -> None:
    """Raise InputError unless a dataset is floats that the file, of this size, contains."""
    if item.external or item.is_virtual:
        raise InputError(
            f"{source}: {path} refers to another file, which is not read; "
            "use a file that contains the numbers itself"
        )
    stored = item.id.get_storage_size()
    if item.dtype.kind != "f" or item.nbytes > MAX_RATIO * stored or stored > size:
        raise InputError(
            f"{source}: {path} declares {item.shape} of {item.dtype} in {stored} bytes, which "
            "cannot be weights of VGG; use the published file"
        )
