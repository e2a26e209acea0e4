"""npstyle's own checks, one report after another, and the check of a function from a file."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from npstyle.engine import cpu
from npstyle.engine.device import CPU, engine_of, missing_loops
from npstyle.errors import InputError
from npstyle.lab.agreement import agreement_outcomes
from npstyle.lab.gradcheck import Report, check_gradient, check_subject
from npstyle.lab.on_gpu import gpu_objectives, gpu_subjects
from npstyle.lab.userfile import load_functions
from npstyle.lab.whole import all_subjects, check_size, tile_outcomes, whole_agreements
from npstyle.lab.whole_painter import painter_outcome
from npstyle.lab.whole_training import adam_outcome, training_outcome
from npstyle.networks.network import Network

AGREEMENT_SIZE = 32
"""Side in pixels of the picture on which engine and textbook are compared."""


def check_network(
    network: Network, size: int, samples: int, directions: int, seed: int = 0
) -> Iterator[Report]:
    """Check the textbook numerically, then the engine on the CPU against the textbook.

    Parameters
    ----------
    network : Network
        Its layers and the objective on it are checked, too.
    size : int
        Side in pixels of the picture on which the objective is checked.
    samples, directions, seed
        As in `npstyle.lab.gradcheck.check_gradient`.

    Yields
    ------
    Report

    Raises
    ------
    InputError
        If the picture is too small for the network.
    """
    check_size(network, size)  # before the first report
    for subject in all_subjects(network, size, seed):
        yield check_subject(subject, samples, directions, seed)
    yield from check_engine(network, cpu, seed)
    if not missing_loops():
        yield from check_loops(seed)
    yield Report("cpu painter", (painter_outcome(seed),))
    yield Report("cpu adam_step", (adam_outcome(seed),))
    yield Report("cpu batch_gradient", (training_outcome(seed),))
    for name, outcome in tile_outcomes(network, seed):
        yield Report(name, (outcome,))


def check_gpu(
    network: Network, size: int, samples: int, directions: int, seed: int = 0
) -> Iterator[Report]:
    """Check the engine on an NVIDIA GPU against the textbook, and its kernels numerically.

    Parameters and errors are those of `check_network`; see `npstyle.lab.on_gpu`.
    """
    from npstyle.engine import cuda

    check_size(network, size)
    yield from check_engine(network, cuda, seed)
    for subject in (*gpu_subjects(seed), *gpu_objectives(network, size, seed)):
        yield check_subject(subject, samples, directions, seed)


def check_engine(network: Network, engine: ModuleType, seed: int = 0) -> Iterator[Report]:
    """Compare every function of an engine, its passes and its objective with the textbook.

    Parameters
    ----------
    network : Network
    engine : module
        `npstyle.engine.cpu` or `npstyle.engine.cuda`.
    seed : int
        Seed of the inputs.
    """
    where = engine.__name__.rpartition(".")[2]
    for dtype in (np.float64, np.float32):
        for name, outcome in agreement_outcomes(engine, dtype, seed):
            yield Report(f"{where} {name} {np.dtype(dtype).name}", (outcome,))
    for name, outcome in whole_agreements(network, engine, AGREEMENT_SIZE, seed):
        yield Report(f"{where} {name}", (outcome,))


def check_loops(seed: int = 0) -> Iterator[Report]:
    """Compare the functions with compiled loops, which are for float32, with the textbook."""
    compiled = engine_of(CPU, fast=True)
    for name, outcome in agreement_outcomes(compiled, np.float32, seed):
        if getattr(compiled, name) is not getattr(cpu, name):
            yield Report(f"compiled {name}", (outcome,))


def check_file(
    target: str, shape: tuple[int, ...], samples: int, directions: int, seed: int = 0
) -> Report:
    """Check a function from a file; see `npstyle.lab.userfile` for the names in it.

    Every InputError names the file.
    """
    functions, inputs, fixed = load_functions(target, shape, seed)
    try:
        return check_gradient(
            functions.function,
            functions.backward,
            inputs,
            fixed=fixed,
            jvp=functions.jvp,
            hvp=functions.hvp,
            name=Path(target).name,
            samples=samples,
            directions=directions,
            seed=seed,
        )
    except InputError as error:
        if str(error).startswith(target.rpartition(":")[0]):  # a function of the file raised it
            raise
        raise InputError(f"{target}: {error}") from error
