"""Run one whole transfer with npstyle or PyTorch, for `tools/benchmark.py` to measure.

    python tools/whole_job.py npstyle|pytorch PHOTO PAINTING NETWORK SIZE ITERATIONS THREADS
                              [DEVICE [PRECISION]]

The job reads pictures from files and writes a picture to a file, with the preset `gatys`. Both
libraries read the same files with npstyle's functions. On the CPU both use L-BFGS-B; on a GPU, each
uses its own L-BFGS. The tool prints the peak resident memory of the process, and npstyle's
prediction of it, as JSON.
"""

import argparse
import json
import platform
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from common import run

from npstyle.engine.losses import Evaluation
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.maths.array import Array
from npstyle.networks.network import load_network
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Precision, Settings
from npstyle.run.transfer import transfer_pictures
from npstyle.search.lbfgs import CORRECTIONS
from npstyle.search.optimize import optimize


@dataclass(frozen=True)
class Job:
    """What to render, how, and into which file."""

    photo: Path
    painting: Path
    network: str
    settings: Settings
    machine: Machine
    output: Path


def run_npstyle(job: Job) -> int:
    """Run npstyle; return its prediction of the peak memory in bytes."""
    predictions: list[int] = []
    done = transfer_pictures(
        Pictures(job.photo, (job.painting,)),
        job.network,
        job.settings,
        job.machine,
        announce=lambda plan: predictions.append(plan.peak_memory),
    )
    save_image(job.output, done.result.image)
    return predictions[0]


def run_pytorch(job: Job) -> None:
    """Run the same objective in PyTorch."""
    import torch

    settings, device = job.settings, job.machine.device
    pictures = load_image(job.photo, settings.size), load_image(job.painting, settings.size)
    if device != "cpu":
        from torch_objective import search, set_tf32, torch_objective

        set_tf32(settings.precision != "float32")
        loss, pixels = torch_objective(load_network(job.network), *pictures, settings, device)
        found, _ = search(loss, pixels, settings.iterations, CORRECTIONS)
        save_image(job.output, found.clamp(0, 255)[0].permute(1, 2, 0).cpu().numpy())
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.peer import TorchObjective

    torch.set_num_threads(job.machine.threads or 1)
    theirs = TorchObjective(load_network(job.network), *pictures, settings, torch.float32)

    def objective(pixels: Array) -> Evaluation:
        loss, gradient = theirs(np.asarray(pixels))
        return Evaluation(loss, gradient, {})

    save_image(job.output, optimize(objective, pictures[0], iterations=settings.iterations).image)


def peak_bytes() -> int:
    """Return the peak resident memory of this process so far."""
    if platform.system() == "Linux":  # getrusage would include the memory of the parent process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Read the arguments, run the job, print the memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("library", choices=("npstyle", "pytorch"))
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("network", help="name or file of the network")
    parser.add_argument("size", type=int, help="longest side in pixels")
    parser.add_argument("iterations", type=int)
    parser.add_argument("threads", type=int)
    parser.add_argument("device", nargs="?", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("precision", nargs="?", default="float32", choices=get_args(Precision))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            photo=given.photo,
            painting=given.painting,
            network=given.network,
            settings=Settings(
                size=given.size,
                init="content",
                iterations=given.iterations,
                precision=given.precision,
            ),
            machine=Machine(threads=given.threads, device=given.device),
            output=Path(folder) / "a.png",
        )
        prediction = 0
        if given.library == "npstyle":
            prediction = run_npstyle(job)
        else:
            run_pytorch(job)
    print(json.dumps({"peak_bytes": peak_bytes(), "estimate_bytes": prediction}))


if __name__ == "__main__":
    run(main)
