"""Decide from the numbers of a VGG what input it expects.

Three kinds of input are common, and a wrong one spoils every activation without an error:

    bgr      BGR, 0..255, minus ImageNet's mean colour (Caffe, Keras)
    rgb255   RGB, 0..255, minus the same mean
    rgb      RGB, 0..1, minus ImageNet's mean, divided by its standard deviation (torchvision)

Under torchvision's names, rgb255 is that of `VGG16_Weights.IMAGENET1K_FEATURES`, whose mean is
rounded otherwise.

The numbers tell them apart in two ways.

The first layer. The published networks of Simonyan and Zisserman share their first filters, because
the training of the deeper ones began with those of the shallowest. Let

    d_i = (sum of filter i over its first colour - sum over its last colour) / norm of filter i

and c the cosine between d and `BLUE_MINUS_RED`, the same numbers for their VGG-19. Filters for BGR
give c near 1, for RGB near -1; other trainings and random numbers give c near 0, with a standard
deviation of 1/8. The ratio of the biases to the norms then tells the unit of the input: filters for
the unit of torchvision have norms 58 times as large beside the same biases.

The response. A training makes the activations of the last layer differ by about 1 between a picture
and the mean colour, for which the input is 0. In the other unit they differ about 58 times as much,
or a tenth as much, as the biases then prevail.

The first layer is certain, and has precedence over the layout of the file. The response is not: it
decides where the layout does not, and otherwise only warns. If nothing decides, the user must.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npstyle.errors import InputError, InputWarning
from npstyle.maths.array import Array
from npstyle.networks.activations import activations
from npstyle.networks.architecture import ConvSpec, LayerSpec
from npstyle.networks.formats.found import (
    CAFFE,
    RGB_255,
    TORCHVISION,
    TORCHVISION_FEATURES,
    Found,
    Preprocessing,
)
from npstyle.networks.network import network_from_weights
from npstyle.networks.verify import draw_picture
from npstyle.networks.weights import Weights

INPUTS = {"bgr": CAFFE, "rgb255": RGB_255, "rgb": TORCHVISION}
"""Kinds of input, by the name that the user gives."""

# fmt: off
BLUE_MINUS_RED = np.array([
    0.0, 3.8, 1.1, -0.1, -0.5, 2.8, 0.5, -1.1, -0.2, 2.5, 0.0, 0.3, 0.2, 2.4, -0.1, -0.1,
    -3.4, -0.6, 0.8, -2.6, 1.5, -0.2, 4.1, 0.6, 1.3, 3.8, 0.0, -3.0, 0.0, -3.9, 0.2, -0.1,
    -2.6, -0.5, 0.0, 0.0, 3.5, -0.2, 0.7, 2.4, -0.1, 0.4, 0.0, 0.0, 0.2, 0.0, -1.0, 0.0,
    -0.9, 1.4, 2.7, 0.0, -1.4, -1.0, 0.6, 1.2, 0.1, 0.5, 0.0, -3.3, 0.0, -0.2, 0.0, -0.3,
])
# fmt: on
"""d of VGG-19 by Simonyan and Zisserman, conv1_1."""

SAME_TRAINING = 0.6
"""Cosine beyond which the filters are those of Simonyan and Zisserman: five standard deviations of
random ones."""

BIAS_TO_NORM = 0.42
"""Median ratio of a bias to the norm of its filter in conv1_1 of their VGG-19."""

UNIT_RATIO = 1 / TORCHVISION.scale[1]
"""Ratio of the unit of 0..255 to that of torchvision."""

RESPONSE = (0.6, 15.0)
"""Root mean square of the difference between the activations of the last layer for the generated
picture and for the mean colour, between which a unit is plausible. For VGG-19 it is 2.0 in its own
unit, 0.2 in that of torchvision, and 110 if its first filters are those for torchvision's unit."""

UNIT_MEANS_SHARE = 0.7
"""Share of filters with a mean activation near 1 beyond which a network is normalised."""


def decide(
    source: Path, layers: Sequence[LayerSpec], found: Found, asked: str | None
) -> tuple[Preprocessing, bool]:
    """Return the input that a VGG expects.

    Parameters
    ----------
    source : Path
        The file, for messages.
    layers : sequence of LayerSpec
    found : Found
        With valid kernels and biases.
    asked : "bgr", "rgb255", "rgb" or None
        The kind of input that the user gives; it has precedence.

    Returns
    -------
    preprocessing : Preprocessing
    same_training : bool
        Whether the filters are those of Simonyan and Zisserman.

    Raises
    ------
    InputError
        If neither the numbers nor the layout of the file decide, or the first layer contradicts
        the layout.

    Warns
    -----
    InputWarning
        If the response contradicts the layout, which then decides.
    """
    order, unit = _by_first_layer(found)
    same_training = order is not None
    if asked is not None:
        return INPUTS[asked], same_training
    if not same_training:
        unit = _by_response(layers, found)
    possible = [p for p in INPUTS.values() if _fits(p, order, unit)]
    layout = found.preprocessing
    if layout is not None and (order is None or _fits(layout, order, unit)):
        if not _fits(layout, order, unit):
            warnings.warn(
                f"{source}: is read for {_unit(layout)}, as its layout says, but responds like a "
                f"network for {unit}; if that is right, convert it again with --input",
                InputWarning,
                stacklevel=2,
            )
        return layout, same_training
    if len(possible) == 1:
        of_torchvision = layout == TORCHVISION and possible[0] == RGB_255
        return TORCHVISION_FEATURES if of_torchvision else possible[0], same_training
    if order is None and unit is None:
        reason = "neither its layout nor its numbers say what input the network expects"
    else:
        measured = " ".join(filter(None, (order, unit)))
        reason = f"its numbers are made for {measured}, which does not agree with its layout"
    raise InputError(
        f"{source}: {reason}; give --input bgr (BGR, 0..255, as Caffe and Keras), --input rgb "
        "(RGB, normalised, as torchvision) or --input rgb255 (RGB, 0..255), as the program does "
        "that the file comes from"
    )


def _unit(preprocessing: Preprocessing) -> str:
    """Return the unit of an input: "0..255", or "0..1" for torchvision's."""
    return "0..255" if preprocessing.scale == (1.0, 1.0, 1.0) else "0..1"


def _fits(preprocessing: Preprocessing, order: str | None, unit: str | None) -> bool:
    """Return whether an input has this channel order and this unit, as far as they are known."""
    return order in (None, preprocessing.channel_order) and unit in (None, _unit(preprocessing))


def _by_first_layer(found: Found) -> tuple[str | None, str | None]:
    """Return the channel order and the unit of filters by Simonyan and Zisserman."""
    kernel = found.kernels["conv1_1"].astype(np.float64)
    norms = np.sqrt((kernel**2).sum(axis=(1, 2, 3)))
    if len(kernel) != len(BLUE_MINUS_RED) or not norms.all():
        return None, None
    sums = kernel.sum(axis=(2, 3)) / norms[:, np.newaxis]
    d: Array = sums[:, 0] - sums[:, -1]
    length = float(np.linalg.norm(d)) or 1.0
    cosine = float(d @ BLUE_MINUS_RED) / (length * float(np.linalg.norm(BLUE_MINUS_RED)))
    if abs(cosine) < SAME_TRAINING:
        return None, None
    ratio = BIAS_TO_NORM / max(float(np.median(np.abs(found.biases["conv1_1"]) / norms)), 1e-30)
    unit = None
    if 1 / 3 < ratio < 3:
        unit = "0..255"
    elif 1 / 3 < ratio / UNIT_RATIO < 3:
        unit = "0..1"
    return "BGR" if cosine > 0 else "RGB", unit


def _by_response(layers: Sequence[LayerSpec], found: Found) -> str | None:
    """Return the only unit of the input for which the last layer responds as after a training."""
    last = [layer.name for layer in layers if isinstance(layer, ConvSpec)][-1]
    picture = draw_picture()

    def run(preprocessing: Preprocessing, pixels: Array) -> Array:
        network = network_from_weights(as_weights(layers, found, preprocessing))
        with np.errstate(all="ignore"):  # random numbers can exceed float32
            ((_, F),) = activations(network, pixels, [last])
            wide: Array = F.astype(np.float64)
            return wide

    grey = run(RGB_255, np.zeros_like(picture) + RGB_255.mean)
    plausible = []
    for preprocessing in (RGB_255, TORCHVISION):
        with np.errstate(all="ignore"):
            response = float(np.sqrt(np.mean((run(preprocessing, picture) - grey) ** 2)))
        if RESPONSE[0] < response < RESPONSE[1]:
            plausible.append(_unit(preprocessing))
    return plausible[0] if len(plausible) == 1 else None


def has_unit_means(layers: Sequence[LayerSpec], found: Found, preprocessing: Preprocessing) -> bool:
    """Return whether a network is scaled to mean activation 1, as Gatys's `vgg_normalised` is.

    Only networks for 0..255 are measured: elsewhere, the mean activations of early layers are near
    1 without it. Of the filters of the first two blocks of VGG-19, 84 % have a mean between 1/3 and
    3 on the generated picture after the scaling, and less than 1 % before.
    """
    if _unit(preprocessing) != "0..255":
        return False
    early = [layer.name for layer in layers if re.match(r"conv[12]_", layer.name)]
    network = network_from_weights(as_weights(layers, found, preprocessing))
    with np.errstate(all="ignore"):
        pairs = activations(network, draw_picture(), early)
        means = np.concatenate([F.mean(axis=(0, 1), dtype=np.float64) for _, F in pairs])
    return bool(np.mean((means > 1 / 3) & (means < 3)) > UNIT_MEANS_SHARE)


def as_weights(layers: Sequence[LayerSpec], found: Found, preprocessing: Preprocessing) -> Weights:
    """Return the convolutions as weights with this input, and without a name or an origin."""
    tensors = {f"{name}.weight": kernel for name, kernel in found.kernels.items()}
    tensors |= {f"{name}.bias": bias for name, bias in found.biases.items()}
    return Weights(
        name="",
        layers=tuple(layers),
        tensors={name: tensors[name] for name in sorted(tensors)},
        channel_order=preprocessing.channel_order,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
        source="",
        license="",
        source_sha256="",
    )
