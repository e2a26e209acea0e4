"""Read VGG-16 from an archive of NumPy (`vgg16_weights.npz`), converted from Caffe by D. Frossard.

Each convolution has a kernel `conv1_1_W` (kernel height, kernel width, in, out) and a bias
`conv1_1_b` (out,). The network expects RGB, 0..255, minus ImageNet's mean colour. The dense layers
(`fc6_W`, ...) are left out.

Source: Davi Frossard, "VGG in TensorFlow" (2016).
"""

import re
from pathlib import Path

from npstyle.errors import InputError
from npstyle.networks.archive import read_arrays
from npstyle.networks.formats.found import OXFORD_LICENSE, RGB_255, Found

MEMBER = r"(?P<layer>conv\d_\d)_[Wb]\.npy"


def read_numpy_archive(source: Path) -> Found:
    """Read such an archive.

    Raises
    ------
    InputError
        If it is damaged, or a layer does not have one kernel and one bias.
    """
    arrays = read_arrays(source, lambda name: re.fullmatch(MEMBER, f"{name}.npy") is not None)
    kernels, biases = {}, {}
    for layer in sorted({name[:-2] for name in arrays}):
        kernel, bias = arrays.get(f"{layer}_W"), arrays.get(f"{layer}_b")
        if kernel is None or bias is None or (kernel.ndim, bias.ndim) != (4, 1):
            raise InputError(
                f"{source}: {layer} does not have a kernel {layer}_W (height, width, in, out) and "
                f"a bias {layer}_b (out,); use the published file"
            )
        kernels[layer], biases[layer] = kernel.transpose(3, 2, 0, 1), bias
    return Found(
        kernels, biases, RGB_255, "Simonyan and Zisserman, by way of NumPy", OXFORD_LICENSE
    )
