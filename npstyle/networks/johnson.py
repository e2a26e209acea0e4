"""The architecture of a transformer network for one style, with random weights.

Two convolutions of stride 2 shrink the image to a quarter of its size, residual blocks work on it
there, and two upsamplings enlarge it again:

    kernels      9x9   3x3 /2   3x3 /2   5 blocks of two 3x3   x2, 5x5   x2, 5x5   9x9
    channels out  w      2w       4w              4w             2w         w       3

Every convolution mirrors its input at the edges, since zeros would give the picture a frame. An
instance normalisation follows each convolution, and a ReLU each but the second of a block and the
last. A sigmoid keeps the picture in 0..255.

Upsampling and a convolution take the place of a transposed convolution, which would draw
checkerboards. But nearest-neighbour upsampling makes stairs out of every slope, of which a network
likes to make lines at a distance of 4 pixels. Therefore the kernels behind an upsampling are
kernels of 3x3, blurred by [1 2 1] / 4 along both axes: after nearest-neighbour upsampling by 2,
this blur is linear interpolation. In a file they are ordinary kernels of 5x5.

Source: Johnson, Alahi and Fei-Fei (arXiv 1603.08155), supplementary material, table 1; instance
normalisation: Ulyanov, Vedaldi and Lempitsky (arXiv 1607.08022); upsampling and reflected edges:
Dumoulin, Shlens and Kudlur (arXiv 1610.07629), table 1.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from npstyle.maths.array import Array
from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu, Sigmoid, Upsample
from npstyle.networks.style_layers import StyleLayer

BLOCKS = 5
"""Residual blocks; the paper's number."""

LARGE, SMALL = 9, 3
"""Sides of the kernels at the picture, and of all others."""


def transformer_layers(width: int, seed: int) -> tuple[StyleLayer, ...]:
    """Return the layers of a network that has not been trained.

    Parameters
    ----------
    width : int
        w, the channels at full size. The network has 1780 w^2 + 636 w + 9 weights.
    seed : int

    Returns
    -------
    tuple of StyleLayer
        float32. The kernels are normal with variance 2 / (values that an output sums): He et al.
        (arXiv 1502.01852), those behind an upsampling before they are blurred. Scales are 1;
        biases and shifts are 0.
    """
    rng = np.random.default_rng(seed)

    def conv(name: str, channels: int, filters: int, size: int = SMALL, stride: int = 1) -> Conv:
        deviation = np.sqrt(2 / (size * size * channels))
        kernel = rng.normal(0, deviation, (size, size, channels, filters)).astype(np.float32)
        bias = np.zeros(filters, np.float32)
        return Conv(name, kernel, bias, stride, size // 2, "reflect")

    def smooth(name: str, channels: int, filters: int) -> Conv:
        layer = conv(name, channels, filters)
        return replace(layer, kernel=blurred(layer.kernel), padding=2)

    def norm(name: str, channels: int) -> InstanceNorm:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        return InstanceNorm(name, ones, zeros)

    def rectified(k: int, convolution: Conv) -> list[StyleLayer]:
        filters = convolution.kernel.shape[3]
        return [convolution, norm(f"norm{k}", filters), Relu(f"relu{k}")]

    layers = [
        *rectified(1, conv("conv1", 3, width, LARGE)),
        *rectified(2, conv("conv2", width, 2 * width, stride=2)),
        *rectified(3, conv("conv3", 2 * width, 4 * width, stride=2)),
    ]
    for k in range(1, BLOCKS + 1):
        before, block = layers[-1].name, f"block{k}"
        layers += [
            conv(f"{block}_conv1", 4 * width, 4 * width),
            norm(f"{block}_norm1", 4 * width),
            Relu(f"{block}_relu"),
            conv(f"{block}_conv2", 4 * width, 4 * width),
            norm(f"{block}_norm2", 4 * width),
            Add(f"{block}_add", before),
        ]
    return (
        *layers,
        Upsample("upsample4", 2),
        *rectified(4, smooth("conv4", 4 * width, 2 * width)),
        Upsample("upsample5", 2),
        *rectified(5, smooth("conv5", 2 * width, width)),
        conv("conv6", width, 3, LARGE),
        InstanceNorm("norm6", np.ones(3, np.float32), np.zeros(3, np.float32)),
        Sigmoid("sigmoid"),
    )


BLUR = np.array([[1, 2, 1, 0, 0], [0, 1, 2, 1, 0], [0, 0, 1, 2, 1]]).T / 4
"""Blurs three numbers to five."""

NEAREST = BLUR @ np.linalg.pinv(BLUR)
"""Projects five numbers orthogonally onto those that are three, blurred."""


def blurred(kernel: Array) -> Array:
    """Blur a kernel (3, 3, channels in, channels out) to (5, 5, ...), in its dtype."""
    return _both_ways(BLUR, kernel)


def nearest_blurred(kernel: Array) -> Array:
    """Return the nearest kernel (5, 5, ...) that is a blurred one, in the dtype of the kernel."""
    return _both_ways(NEAREST, kernel)


def keep_blurred(layers: Sequence[StyleLayer]) -> tuple[StyleLayer, ...]:
    """Return the layers of a network with kernels of 5x5 behind an upsampling blurred.

    A step of a training changes all numbers of a kernel; this one returns to the kernels that the
    architecture has. Other kernels stay as they are, also those of 3x3 behind an upsampling.
    """
    kept: list[StyleLayer] = []
    for layer in layers:
        behind = bool(kept) and isinstance(kept[-1], Upsample)
        if behind and isinstance(layer, Conv) and layer.kernel.shape[:2] == (5, 5):
            layer = replace(layer, kernel=nearest_blurred(layer.kernel))
        kept.append(layer)
    return tuple(kept)


def _both_ways(matrix: Array, kernel: Array) -> Array:
    """Apply a matrix to the height and to the width of a kernel."""
    return np.einsum("ai,bj,ijcd->abcd", matrix, matrix, kernel).astype(kernel.dtype)
