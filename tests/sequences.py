"""Small sequential networks of random weights, for geometry that VGG does not have."""

import numpy as np

from npstyle.maths.layers import Conv, Pool, Relu
from npstyle.networks.network import Network


def sequence(rng, layers, padding_mode="zero"):
    """Build a network in float64.

    A layer is ("conv", kernel size, stride, padding, filters), which a ReLU follows, or ("pool",
    size, stride). A kernel size is a number or (height, width).
    """
    built, channels, block, number = [], 3, 1, 1
    for kind, *numbers in layers:
        if kind == "pool":
            built.append(Pool(f"pool{block}", *numbers, "avg"))
            block, number = block + 1, 1
        else:
            kernel, stride, padding, filters = numbers
            height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
            shape = height, width, channels, filters
            kernel_array = rng.standard_normal(shape) / np.sqrt(height * width * channels / 2)
            name = f"conv{block}_{number}"
            bias = rng.normal(0, 0.3, filters)
            mode = padding_mode if not built else "zero"
            conv = Conv(name, kernel_array, bias, stride, padding, mode)
            built += [conv, Relu(f"relu{block}_{number}")]
            channels, number = filters, number + 1
    means, scales = (103.939, 116.779, 123.68), (0.02, 0.02, 0.02)
    return Network("sequence", tuple(built), "BGR", means, scales, False, "0" * 64)


def last_activation(network):
    return list(network.activations().values())[-1]


VGG_LIKE = [
    ("conv", 3, 1, 1, 4),
    ("conv", 3, 1, 1, 4),
    ("pool", 2, 2),
    ("conv", 3, 1, 1, 5),
    ("pool", 2, 2),
    ("conv", 3, 1, 1, 6),
    ("conv", 3, 1, 1, 6),
]
"""Three blocks: cells of 4 pixels, and conv3_2 sees 36 pixels."""

OTHERS = {
    "vgg": VGG_LIKE,
    "no padding": [("conv", 3, 1, 0, 4), ("pool", 2, 2), ("conv", 3, 1, 0, 4)],
    "strides": [("conv", 5, 2, 2, 4), ("conv", 3, 3, 1, 4), ("conv", 1, 1, 0, 5)],
    "overlapping pools": [("conv", 3, 1, 1, 4), ("pool", 3, 2), ("conv", 3, 1, 1, 4)],
    "pools of three": [("pool", 3, 3), ("conv", (3, 5), 1, 2, 4), ("pool", 2, 1), ("pool", 2, 2)],
    "gaps between pools": [("conv", 3, 1, 1, 4), ("pool", 1, 2), ("conv", (1, 3), 1, 0, 4)],
    "more than the same": [("conv", 3, 1, 2, 4), ("pool", 2, 2), ("conv", 5, 2, 4, 4)],
}
"""Other geometries of sequential networks, by name."""
