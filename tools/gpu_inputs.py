"""Make the pictures and the network for `tools/gpu_report.sh`, and describe the machine.

    python tools/gpu_inputs.py FOLDER [NETWORK]

Writes a photo and a painting, drawn by formula, and `network.npz`: a copy of the file NETWORK, or
VGG-19's layers with random filters, since speed does not depend on the values. The filters are
normal with variance 2 / inputs (He et al. 2015), which keeps activations at one magnitude. Prints
the machine, the versions of the packages, and the packages that are missing.
"""

import argparse
import platform
import shutil
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.networks.architecture import ConvSpec, vgg_architecture
from npstyle.networks.weights import Weights, save_weights

WIDTHS = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 512, "conv5": 512}
BLOCKS = (2, 2, 4, 4, 4)
SIZE = (384, 512)
"""Height and width of the pictures in pixels."""

MEAN = (103.939, 116.779, 123.68)
"""Mean of the training pictures of VGG, BGR."""

PACKAGES = (
    *("cupy", "torch", "numpy", "scipy", "pytest", "psutil", "threadpoolctl", "PIL", "tifffile"),
    *("rich", "rich_click", "lazy_loader", "h5py", "pooch", "platformdirs", "safetensors"),
)
"""Modules that the report lists, found or missing."""


def random_vgg19(destination: Path, widths: dict[str, int]) -> None:
    """Write a network with VGG-19's layers and random filters."""
    rng = np.random.default_rng(19)
    tensors = {}
    channels = 3
    for layer in vgg_architecture(BLOCKS):
        if isinstance(layer, ConvSpec):
            filters = widths[layer.name.split("_")[0]]
            weight = rng.standard_normal((filters, channels, 3, 3), np.float32)
            tensors[f"{layer.name}.weight"] = weight * np.float32(np.sqrt(2 / (9 * channels)))
            tensors[f"{layer.name}.bias"] = np.zeros(filters, np.float32)
            channels = filters
    network = Weights(
        name="random VGG-19",
        layers=vgg_architecture(BLOCKS),
        tensors=tensors,
        channel_order="BGR",
        mean=MEAN,
        scale=(1.0, 1.0, 1.0),
        source="random filters, made by tools/gpu_inputs.py",
        license="MIT",
        source_sha256="",
    )
    save_weights(destination, network)


def describe() -> list[str]:
    """Describe the machine and the installed packages, one line each."""
    lines = [f"Python {platform.python_version()} on {platform.platform()}"]
    found, missing = [], []
    owners = metadata.packages_distributions()
    for name in PACKAGES:
        if find_spec(name) is None:
            missing.append(name)
        else:
            package = (owners.get(name) or [name])[0]
            found.append(f"{package} {metadata.version(package)}")
    lines.append(", ".join(found))
    lines.append(f"missing: {', '.join(missing) or 'nothing'}")
    for command in (
        ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
        ["git", "log", "-1", "--format=commit %h"],
    ):
        if shutil.which(command[0]):
            run = subprocess.run(command, capture_output=True, text=True, timeout=20)
            lines.append((run.stdout or run.stderr).strip().partition("\n")[0])
    return lines


def main() -> None:
    """Describe the machine, and write the pictures and the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("network", type=Path, nargs="?", metavar="NETWORK")
    arguments = parser.parse_args()
    folder = arguments.folder
    print("\n".join(line for line in describe() if line), flush=True)
    save_image(folder / "photo.png", draw_photo(*SIZE))
    save_image(folder / "painting.png", draw_painting(*SIZE))
    if arguments.network is not None:
        shutil.copyfile(arguments.network, folder / "network.npz")
        print(f"network: {arguments.network}")
    else:
        random_vgg19(folder / "network.npz", WIDTHS)
        print("network: VGG-19's layers with random filters")


if __name__ == "__main__":
    main()
