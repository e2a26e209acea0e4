"""The result of every reader: convolutions by VGG's names, and the preprocessing of pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

from npstyle.maths.array import Array

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean colour of ImageNet, 0..255, that Simonyan and Zisserman subtracted in training."""

OXFORD_LICENSE = "CC BY 4.0, Visual Geometry Group, University of Oxford"


@dataclass(frozen=True)
class Preprocessing:
    """Network input = (pixels 0..255 in `channel_order` - mean) * scale."""

    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]


CAFFE = Preprocessing("BGR", CAFFE_MEAN_BGR, (1.0, 1.0, 1.0))
"""Preprocessing of the original networks, and of all files with their numbers and channel order."""

TORCHVISION = Preprocessing(
    "RGB",
    (0.485 * 255, 0.456 * 255, 0.406 * 255),
    (1 / (0.229 * 255), 1 / (0.224 * 255), 1 / (0.225 * 255)),
)
"""RGB, 0..1, minus ImageNet's mean, divided by its standard deviation."""


@dataclass(frozen=True)
class Found:
    """The convolutions of a file.

    Attributes
    ----------
    kernels : dict of arrays (out, in, kernel height, kernel width), by "conv1_1", ...
    biases : dict of arrays (out,), by the same names
    preprocessing : Preprocessing
    publisher : str
        Name for display, such as "Keras Applications".
    license : str
    """

    kernels: Mapping[str, Array]
    biases: Mapping[str, Array]
    preprocessing: Preprocessing
    publisher: str
    license: str
