"""Make a network with VGG-19's layers, a quarter of its width, and random filters.

He, Wang and Hopcroft ("A powerful generative model using random weights for the deep image
representation", NIPS 2016) show that a network with random weights represents style. For each
layer, the tool

1. draws each filter from a normal distribution, weighted by 1/2, 1, 1/2 in both directions (without
   this window the pictures are grainy), and makes the filters of the layer orthonormal by a QR
   decomposition, so that they respond to different patterns;
2. chooses each bias so that the pre-activation of the filter has mean 0 over pictures like those of
   `npstyle demo`: about half of the positions pass the ReLU, and activations stay diverse;
3. scales filter and bias so that the mean activation over these pictures is 1, as in the paper's
   network (a ReLU commutes with positive factors).

    python tools/random_filters.py FILE

The result is the same on every machine up to rounding. It was npstyle's built-in network before
there was a trained one; `tools/judge.py` compares the two.
"""

import argparse
from pathlib import Path

import numpy as np
from common import run

from npstyle.engine.cpu import avg_pool2d, conv2d, preprocess, relu
from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.maths.array import Array
from npstyle.networks.architecture import ConvSpec, PoolSpec, vgg_architecture
from npstyle.networks.weights import Weights, save_weights

WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128}
"""Filters in each block."""

MEAN = (123.68, 116.779, 103.939)
"""Mean of the training pictures of VGG, RGB."""

SCALE = (1.0, 1.0, 1.0)
WINDOW = np.outer([0.5, 1.0, 0.5], [0.5, 1.0, 0.5])[:, :, None, None]
"""Factors (3, 3, 1, 1) that weaken a filter away from its centre."""

SEED = 2015
BLOCKS = (2, 2, 4, 4, 4)
"""Convolutions in each block."""


def draw_layers() -> dict[str, Array]:
    """Draw, orthogonalise and scale the filters of every layer."""
    rng = np.random.default_rng(SEED)
    pictures = [draw(192, 256, seed) for seed in range(4) for draw in (draw_photo, draw_painting)]
    images = [preprocess(picture, "RGB", MEAN, SCALE, np.float64) for picture in pictures]
    tensors = {}
    channels = 3
    with use_threads(physical_cores()):
        for layer in vgg_architecture(BLOCKS):
            if isinstance(layer, ConvSpec):
                filters = WIDTHS[layer.name.split("_")[0]]
                random = rng.standard_normal((3, 3, channels, filters)) * WINDOW
                orthonormal, _ = np.linalg.qr(random.reshape(9 * channels, filters))
                kernel = orthonormal.reshape(3, 3, channels, filters)
                responses = [conv2d(image, kernel, padding=layer.padding) for image in images]
                bias = -np.mean([z.mean(axis=(0, 1)) for z in responses], axis=0)
                mean = np.mean([relu(z + bias).mean(axis=(0, 1)) for z in responses], axis=0)
                tensors[f"{layer.name}.weight"] = (kernel / mean).transpose(3, 2, 0, 1)
                tensors[f"{layer.name}.bias"] = bias / mean
                images = [(z + bias) / mean for z in responses]
                channels = filters
            elif isinstance(layer, PoolSpec):
                images = [avg_pool2d(image, layer.size, layer.stride) for image in images]
            else:
                images = [relu(image) for image in images]
    return {name: np.ascontiguousarray(tensor, np.float16) for name, tensor in tensors.items()}


def main() -> None:
    """Make the network and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write (.npz)")
    arguments = parser.parse_args()
    network = Weights(
        name="random",
        layers=vgg_architecture(BLOCKS),
        tensors=draw_layers(),
        channel_order="RGB",
        mean=MEAN,
        scale=SCALE,
        source=f"random orthonormal filters, made by tools/random_filters.py with seed {SEED}",
        license="MIT",
        source_sha256="",
        normalized=True,
    )
    save_weights(arguments.file, network)


if __name__ == "__main__":
    run(main)
