"""Read VGG-16 and VGG-19 of Keras Applications (HDF5).

Each layer is a group such as `block1_conv1` with a kernel (kernel height, kernel width, in, out)
and a bias (out,). The names of the groups inside vary and are ignored. The network expects BGR,
0..255, minus ImageNet's mean colour. The layers of the classifier, if any, are left out.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.archive import MAX_RATIO
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, Found

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_keras(source: Path) -> Found:
    """Read a Keras file.

    Raises
    ------
    InputError
        If it is damaged, or a layer does not have one kernel and one bias.
    """
    kernels, biases = {}, {}
    for layer, parts in _arrays(source).items():
        group = layer.replace("conv", "block").replace("_", "_conv")
        by_ndim = {part.ndim: part for part in parts}
        if sorted(part.ndim for part in parts) != [1, 4]:
            raise InputError(
                f"{source}: {group} contains arrays of shapes {[part.shape for part in parts]} "
                "instead of a kernel (height, width, in, out) and a bias (out,); use the published "
                "file"
            )
        kernels[layer], biases[layer] = by_ndim[4].transpose(3, 2, 0, 1), by_ndim[1]
    return Found(kernels, biases, CAFFE, "Keras Applications", OXFORD_LICENSE)


def _arrays(source: Path) -> dict[str, list[Array]]:
    """Return the arrays of every group blockB_convN, by "convB_N"."""
    import h5py

    arrays: dict[str, list[Array]] = {}
    size = source.stat().st_size

    def visit(path: str, item: Any) -> None:
        match = re.search(r"(?:^|/)block(\d)_conv(\d)/", path)
        if not match or not isinstance(item, h5py.Dataset):
            return
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
        arrays.setdefault(f"conv{match[1]}_{match[2]}", []).append(np.asarray(item[()]))

    try:
        with h5py.File(source, "r") as file:
            file.visititems(visit)
    except InputError:
        raise
    except Exception as error:  # h5py raises almost any exception on damaged files
        raise InputError(
            f"{source}: the HDF5 file is damaged or truncated ({error}); download it again"
        ) from error
    return arrays
