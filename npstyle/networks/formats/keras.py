"""Keras Applications' VGG-16 and VGG-19 (HDF5).

One group per layer, `block1_conv1`, with a kernel (kernel height, kernel width, in, out) and a bias
(out,), whatever the groups inside are called. The input is BGR, 0..255, with the mean colour of
ImageNet subtracted. The classifier's layers, where present, are left out.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle.errors import InputError
from npstyle.networks.formats.found import CAFFE, OXFORD_LICENSE, Found
from npstyle.networks.weights import MAX_RATIO

Array = NDArray[Any]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_keras(source: Path) -> Found:
    """Read Keras' file.

    Raises
    ------
    InputError
        If it is damaged, or a layer is not as it should be.
    """
    kernels, biases = {}, {}
    for layer, parts in _arrays(source).items():
        group = layer.replace("conv", "block").replace("_", "_conv")
        of_ndim = {part.ndim: part for part in parts}
        if sorted(part.ndim for part in parts) != [1, 4]:
            raise InputError(
                f"{source}: {group} holds arrays of shapes {[part.shape for part in parts]}; "
                "expected one kernel (height, width, in, out) and one bias (out,)"
            )
        kernels[layer], biases[layer] = of_ndim[4].transpose(3, 2, 0, 1), of_ndim[1]
    return Found(kernels, biases, CAFFE, "Keras Applications", OXFORD_LICENSE)


def _arrays(source: Path) -> dict[str, list[Array]]:
    """The arrays of every group blockB_convN, by "convB_N"."""
    import h5py

    arrays: dict[str, list[Array]] = {}
    size = source.stat().st_size

    def visit(path: str, item: Any) -> None:
        match = re.search(r"(?:^|/)block(\d)_conv(\d)/", path)
        if not match or not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise InputError(
                f"{source}: {path} points to another file, which is not read; "
                "give the file that holds the numbers"
            )
        kept = item.id.get_storage_size()
        if item.dtype.kind != "f" or item.nbytes > MAX_RATIO * kept or kept > size:
            raise InputError(
                f"{source}: {path} is {item.shape} of {item.dtype} in {kept} bytes of the file; "
                "those are no VGG weights"
            )
        arrays.setdefault(f"conv{match[1]}_{match[2]}", []).append(np.asarray(item[()]))

    try:
        with h5py.File(source, "r") as file:
            file.visititems(visit)
    except InputError:
        raise
    except Exception as error:  # damaged HDF5 makes h5py raise nearly anything
        raise InputError(f"{source}: the HDF5 file is damaged or truncated ({error})") from error
    return arrays
