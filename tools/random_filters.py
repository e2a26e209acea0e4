"""Make a network of VGG-19's layers at a quarter of the width, with random filters.

He, Wang and Hopcroft ("A powerful generative model using random weights for the deep image
representation", NIPS 2016) show that a network of random weights carries style. Layer by layer:

1. draw every filter from a seeded normal distribution, strongest at its centre (a window of
   1/2, 1, 1/2 in both directions: without it the pictures come out grainy), and make the filters
   of the layer orthonormal to each other (QR), so that no two look at the same thing;
2. choose each bias so that the filter's pre-activation has mean 0 over the generated pictures of
   `npstyle demo`: about half of the positions pass the ReLU, and the activations stay different;
3. scale filter and bias so that its mean activation over these pictures is 1, as the paper asks
   of its network (the ReLU passes a positive factor through).

    python tools/random_filters.py FILE

The result is the same on every machine up to rounding; it needs no data. It was npstyle's built-in
network before that was trained, and is what the trained one is compared with.
"""

import sys
from pathlib import Path

import numpy as np

from npstyle.engine.cpu.conv import conv2d
from npstyle.engine.cpu.pooling import avg_pool2d
from npstyle.engine.cpu.preprocessing import preprocess
from npstyle.engine.cpu.relu import relu
from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.networks.architecture import ConvSpec, PoolSpec, vgg_architecture
from npstyle.networks.weights import Weights, save_weights

WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128}
MEAN = (123.68, 116.779, 103.939)
SCALE = (1.0, 1.0, 1.0)
WINDOW = np.outer([0.5, 1.0, 0.5], [0.5, 1.0, 0.5])[:, :, None, None]
SEED = 2015
BLOCKS = (2, 2, 4, 4, 4)


def main(destination: Path) -> None:
    """Draw, orthogonalise and scale every layer, and write the file."""
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
                weight = orthonormal.reshape(3, 3, channels, filters)
                responses = [conv2d(image, weight, padding=layer.padding) for image in images]
                bias = -np.mean([z.mean(axis=(0, 1)) for z in responses], axis=0)
                active = np.mean([relu(z + bias).mean(axis=(0, 1)) for z in responses], axis=0)
                tensors[f"{layer.name}.weight"] = (weight / active).transpose(3, 2, 0, 1)
                tensors[f"{layer.name}.bias"] = bias / active
                images = [(z + bias) / active for z in responses]
                channels = filters
            elif isinstance(layer, PoolSpec):
                images = [avg_pool2d(image, layer.size, layer.stride) for image in images]
            else:
                images = [relu(image) for image in images]
    save_weights(
        destination,
        Weights(
            name="random",
            layers=vgg_architecture(BLOCKS),
            tensors={
                name: np.ascontiguousarray(tensor, np.float16) for name, tensor in tensors.items()
            },
            channel_order="RGB",
            mean=MEAN,
            scale=SCALE,
            source=f"random orthonormal filters, made by tools/random_filters.py with seed {SEED}",
            license="MIT",
            source_sha256="",
            normalized=True,
        ),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
