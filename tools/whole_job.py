"""One whole transfer by npstyle or PyTorch, for `tools/benchmark.py` to time and weigh.

    python tools/whole_job.py npstyle|pytorch PHOTO PAINTING NETWORK SIZE ITERATIONS THREADS
                              [DEVICE [PRECISION]]

From pictures on disk to a picture on disk, with the preset `gatys`; both use npstyle's pictures,
weights file and, on the CPU, L-BFGS-B; on a GPU each its own L-BFGS. Prints the largest resident
memory of the process, and what npstyle estimated beforehand, as JSON.
"""

import argparse
import json
import platform
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
from common import run

from npstyle.engine.objective import Evaluation
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.networks.network import load_network
from npstyle.run.settings import Precision, Settings
from npstyle.run.transfer import transfer
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.optimize import optimize


def run_npstyle(
    photo: Path,
    painting: Path,
    network: str,
    settings: Settings,
    threads: int,
    device: str,
    output: Path,
) -> int:
    """Run npstyle; return its estimate of the peak, in bytes."""
    estimates: list[int] = []
    done = transfer(
        photo,
        painting,
        network,
        settings,
        threads=threads,
        device=device,
        announce=lambda plan: estimates.append(plan.peak_memory),
    )
    save_image(output, done.result.image)
    return estimates[0]


def run_pytorch(
    photo: Path,
    painting: Path,
    network: str,
    settings: Settings,
    threads: int,
    device: str,
    output: Path,
) -> None:
    """Run the same objective in PyTorch."""
    import torch

    pictures = load_image(photo, settings.size), load_image(painting, settings.size)
    if device != "cpu":
        from torch_objective import search, set_tf32, torch_objective

        set_tf32(settings.precision != "float32")
        loss, pixels = torch_objective(load_network(network), *pictures, settings, device)
        found, _ = search(loss, pixels, settings.iterations, CORRECTIONS)
        save_image(output, found.clamp(0, 255)[0].permute(1, 2, 0).cpu().numpy())
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.peer import TorchObjective

    torch.set_num_threads(threads)
    theirs = TorchObjective(load_network(network), *pictures, settings, torch.float32)

    def objective(pixels: Any) -> Evaluation:
        loss, gradient = theirs(np.asarray(pixels))
        return Evaluation(loss, gradient, {})

    save_image(output, optimize(objective, pictures[0], iterations=settings.iterations).image)


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    if platform.system() == "Linux":  # getrusage would count the parent's memory, too
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("npstyle", "pytorch"))
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("network")
    for name in ("size", "iterations", "threads"):
        parser.add_argument(name, type=int)
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("precision", nargs="?", default="float32", choices=get_args(Precision))
    given = parser.parse_args()
    settings = Settings(size=given.size, iterations=given.iterations, precision=given.precision)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "a.png"
        own = given.network, settings, given.threads, given.device, output
        job = given.photo, given.painting, *own
        if given.library == "npstyle":
            estimate = run_npstyle(*job)
        else:
            estimate = 0
            run_pytorch(*job)
    print(json.dumps({"peak_bytes": peak_bytes(), "estimate_bytes": estimate}))


if __name__ == "__main__":
    run(main)
