"""One whole transfer by npstyle or PyTorch, for `tools/benchmark.py` to time and weigh.

    python tools/whole_job.py npstyle|pytorch PHOTO PAINTING NETWORK SIZE ITERATIONS THREADS

From pictures on disk to a picture on disk, with the preset `gatys`; both use npstyle's pictures,
weights file and L-BFGS-B. Prints the largest resident memory of the process, and what npstyle
estimated beforehand, as JSON.
"""

import json
import platform
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.image import load_image, save_image
from npstyle.network import load_network
from npstyle.objective import Evaluation
from npstyle.optimizers import optimize
from npstyle.presets import Settings
from npstyle.style_transfer import transfer


def run_npstyle(
    photo: Path, painting: Path, network: str, settings: Settings, threads: int, output: Path
) -> int:
    """Run npstyle; return its estimate of the peak, in bytes."""
    estimates: list[int] = []
    done = transfer(
        photo,
        painting,
        network,
        settings,
        threads=threads,
        announce=lambda plan: estimates.append(plan.peak_memory),
    )
    save_image(output, done.result.image)
    return estimates[0]


def run_pytorch(
    photo: Path, painting: Path, network: str, settings: Settings, threads: int, output: Path
) -> None:
    """Run the same objective in PyTorch."""
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.peer import TorchObjective

    torch.set_num_threads(threads)
    pictures = [load_image(path, settings.size) for path in (photo, painting)]
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
    """Read the seven arguments and run."""
    library, photo, painting, network, size, iterations, threads = sys.argv[1:]
    settings = Settings(size=int(size), iterations=int(iterations))
    with tempfile.TemporaryDirectory() as folder:
        job = (Path(photo), Path(painting), network, settings, int(threads), Path(folder) / "a.png")
        if library == "npstyle":
            estimate = run_npstyle(*job)
        else:
            estimate = 0
            run_pytorch(*job)
    print(json.dumps({"peak_bytes": peak_bytes(), "estimate_bytes": estimate}))


if __name__ == "__main__":
    main()
