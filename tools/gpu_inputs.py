"""Make what `tools/gpu_report.sh` measures with, where nothing else is at hand; say what is here.

    python tools/gpu_inputs.py FOLDER [NETWORK]

Leaves a photo and a painting, drawn by formula, and a network called `network.npz`: NETWORK if it
is given, else VGG-19's layers with random filters (normal, with the variance 2 / inputs of He et
al. 2015, so that activations keep their size). Speed does not depend on the numbers. Prints the
machine, the versions, and which packages are missing.
"""

import platform
import shutil
import subprocess
import sys
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
MEAN = (103.939, 116.779, 123.68)

PACKAGES = (
    *("cupy", "torch", "numpy", "scipy", "pytest", "psutil", "threadpoolctl", "PIL", "tifffile"),
    *("rich", "typer", "h5py", "pooch", "platformdirs", "safetensors"),
)


def random_vgg19(destination: Path, widths: dict[str, int]) -> None:
    """Write a network of VGG-19's layers with random filters."""
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
    """The machine and what is installed, a line each."""
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
    """Read the folder and perhaps a network, and make everything."""
    folder = Path(sys.argv[1])
    print("\n".join(line for line in describe() if line), flush=True)
    save_image(folder / "photo.png", draw_photo(*SIZE))
    save_image(folder / "painting.png", draw_painting(*SIZE))
    if len(sys.argv) > 2:
        shutil.copyfile(sys.argv[2], folder / "network.npz")
        print(f"network: {sys.argv[2]}")
    else:
        random_vgg19(folder / "network.npz", WIDTHS)
        print("network: VGG-19's layers with random filters")


if __name__ == "__main__":
    main()
