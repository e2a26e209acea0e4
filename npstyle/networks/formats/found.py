"""What every reader hands over: convolutions by VGG's names, and how a picture is prepared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean colour of ImageNet that the networks of Simonyan and Zisserman were trained with."""

OXFORD_LICENSE = "CC BY 4.0, Visual Geometry Group, University of Oxford"


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the network's input: (pixels 0..255 in this order - mean) * scale."""

    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]


CAFFE = Preparation("BGR", CAFFE_MEAN_BGR, (1.0, 1.0, 1.0))
"""Of the original networks, and of all files that hold the same numbers in the same order."""

TORCHVISION = Preparation(
    "RGB",
    (0.485 * 255, 0.456 * 255, 0.406 * 255),
    (1 / (0.229 * 255), 1 / (0.224 * 255), 1 / (0.225 * 255)),
)
"""Pixels 0..1, RGB, with ImageNet's mean and standard deviation taken out."""


@dataclass(frozen=True)
class Found:
    """The convolutions of one file.

    Attributes
    ----------
    kernels : dict of arrays (out, in, kernel height, kernel width), by "conv1_1", ...
    biases : dict of arrays (out,), by the same names
    preparation : Preparation
    publisher : str
        Whose file it is, for people: "Keras Applications".
    license : str
    """

    kernels: Mapping[str, Array]
    biases: Mapping[str, Array]
    preparation: Preparation
    publisher: str
    license: str
