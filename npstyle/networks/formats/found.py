"""The results of the readers: the convolutions of a VGG, or the layers of a style network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from npstyle.maths.array import Array
from npstyle.networks.style_layers import StyleLayer

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean colour of ImageNet, 0..255, that Simonyan and Zisserman subtracted in training."""

OXFORD_LICENSE = "CC BY 4.0, Visual Geometry Group, University of Oxford"


UNKNOWN_LICENSE = "that of the source"


@dataclass(frozen=True)
class Preprocessing:
    """Network input = (pixels 0..255 in `channel_order` - mean) * scale."""

    channel_order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]


CAFFE = Preprocessing("BGR", CAFFE_MEAN_BGR, (1.0, 1.0, 1.0))
"""Preprocessing of the original networks, and of all files with their numbers and channel order."""

RGB_255 = Preprocessing("RGB", CAFFE_MEAN_BGR[::-1], (1.0, 1.0, 1.0))
"""The same with the colours in the other order."""

TORCHVISION = Preprocessing(
    "RGB",
    (0.485 * 255, 0.456 * 255, 0.406 * 255),
    (1 / (0.229 * 255), 1 / (0.224 * 255), 1 / (0.225 * 255)),
)
"""RGB, 0..1, minus ImageNet's mean, divided by its standard deviation."""


TORCHVISION_FEATURES = Preprocessing(
    "RGB", (0.48235 * 255, 0.45882 * 255, 0.40784 * 255), (1.0, 1.0, 1.0)
)
"""Preprocessing of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`, which are Caffe's numbers:
RGB, 0..1, minus the mean, times 255."""


@dataclass(frozen=True)
class Found:
    """The convolutions of a VGG and the preprocessing of pictures.

    Attributes
    ----------
    kernels : dict of arrays (out, in, kernel height, kernel width), by "conv1_1", ...
    biases : dict of arrays (out,), by the same names
    preprocessing : Preprocessing or None
        None if the layout does not say what the network expects, so that the numbers must.
    publisher : str
        Name for display, such as "Keras Applications".
    license : str
    """

    kernels: Mapping[str, Array]
    biases: Mapping[str, Array]
    preprocessing: Preprocessing | None
    publisher: str
    license: str


@dataclass
class FoundNetwork:
    """One network of a file of style networks.

    Attributes
    ----------
    layers : list of StyleLayer
    packed : dict of arrays
        Arrays of float16, or of int8 with their scales, by the names of
        `npstyle.networks.style_layers`.
    reads_code : bool
        Whether its normalisations depend on a style code.
    ignored : tuple of str
        Names of the file's arrays that the network does not use.
    """

    layers: list[StyleLayer] = field(default_factory=list)
    packed: dict[str, Array] = field(default_factory=dict)
    reads_code: bool = False
    ignored: tuple[str, ...] = ()
