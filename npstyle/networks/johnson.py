"""The architecture of a transformer network for one style, with random weights.

Two convolutions of stride 2 shrink the image to a quarter of its size, residual blocks work on it
there, and two upsamplings enlarge it again:

    kernels      9x9   3x3 /2   3x3 /2   5 blocks of two 3x3   x2, 3x3   x2, 3x3   9x9
    channels out  w      2w       4w              4w             2w         w       3

Every convolution mirrors its input at the edges, since zeros would give the picture a frame. An
instance normalisation follows each, and a ReLU all but the second of a block and the last.
Upsampling and a convolution take the place of a transposed convolution, which would draw
checkerboards. A sigmoid keeps the picture in 0..255.

Source: Johnson, Alahi and Fei-Fei (arXiv 1603.08155), supplementary material, table 1; instance
normalisation: Ulyanov, Vedaldi and Lempitsky (arXiv 1607.08022); upsampling and reflected edges:
Dumoulin, Shlens and Kudlur (arXiv 1610.07629), table 1.
"""

import numpy as np

from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu, Sigmoid, Upsample
from npstyle.networks.style_layers import StyleLayer

BLOCKS = 5
"""Residual blocks; the paper's number."""

LARGE, SMALL = 9, 3
"""Sides of the kernels at the picture, and of all others."""


def weight_count(width: int) -> int:
    """Return the number of weights of a network of this width."""
    return 1620 * width**2 + 636 * width + 9


def transformer_layers(width: int, seed: int) -> tuple[StyleLayer, ...]:
    """Return the layers of a network that has not been trained.

    Parameters
    ----------
    width : int
        w, the channels at full size.
    seed : int

    Returns
    -------
    tuple of StyleLayer
        float32. The kernels are normal with variance 2 / (values that an output sums): He et al.
        (arXiv 1502.01852). Scales are 1; biases and shifts are 0.
    """
    rng = np.random.default_rng(seed)

    def conv(name: str, channels: int, filters: int, size: int = SMALL, stride: int = 1) -> Conv:
        deviation = np.sqrt(2 / (size * size * channels))
        kernel = rng.normal(0, deviation, (size, size, channels, filters)).astype(np.float32)
        bias = np.zeros(filters, np.float32)
        return Conv(name, kernel, bias, stride, size // 2, "reflect")

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
        *rectified(4, conv("conv4", 4 * width, 2 * width)),
        Upsample("upsample5", 2),
        *rectified(5, conv("conv5", 2 * width, width)),
        conv("conv6", width, 3, LARGE),
        InstanceNorm("norm6", np.ones(3, np.float32), np.zeros(3, np.float32)),
        Sigmoid("sigmoid"),
    )
