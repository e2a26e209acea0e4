"""The state of the training of `tools/train_builtin.py`, in memory and in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distill import Bridge, Tensors
from student import TAUGHT, WIDTHS, taught_layers

from npstyle.files import written_whole
from npstyle.maths.array import Array
from npstyle.maths.layers import Conv
from npstyle.networks.network import Network


@dataclass
class State:
    """Everything that the training needs to continue.

    Attributes
    ----------
    step : int
        Steps taken.
    tensors : dict
        Kernels and biases of the student.
    units : dict
        Unit of Adam's step for each tensor.
    mean, square : dicts
        Adam's moving averages of the gradient and of its square.
    bridges : dict
        The linear map at each layer that has a loss.
    log : list
        One row of the log per validation.
    made : list of float32 arrays (height, width, 3)
        Pictures that the student made.
    """

    step: int
    tensors: Tensors
    units: dict[str, float]
    mean: Tensors
    square: Tensors
    bridges: dict[str, Bridge]
    log: list[list[float]]
    made: list[Array]


def fresh_state(teacher: Network, tensors: Tensors) -> State:
    """Return the state before the first step."""
    taught = {layer.name for layer in taught_layers()}
    tensors = {name: t for name, t in tensors.items() if name.split(".")[0] in taught}
    units = {}
    for name, tensor in tensors.items():
        # Kernels move in units of their root mean square, biases of their mean magnitude.
        is_kernel = tensor.ndim == 4
        units[name] = float(np.sqrt((tensor**2).mean()) if is_kernel else np.abs(tensor).mean())
    widths = {layer.name: len(layer.bias) for layer in teacher.layers if isinstance(layer, Conv)}
    bridges = {name: Bridge.empty(WIDTHS[name.split("_")[0]], widths[name]) for name in TAUGHT}
    zeros = {name: np.zeros_like(tensor) for name, tensor in tensors.items()}
    return State(0, tensors, units, zeros, dict(zeros), bridges, [], [])


def save_state(path: Path, state: State) -> None:
    """Write the state to a file, completely or not at all."""
    arrays: dict[str, Any] = {}
    for kind in ("tensors", "mean", "square"):
        arrays |= {f"{kind}/{name}": array for name, array in getattr(state, kind).items()}
    for name, bridge in state.bridges.items():
        arrays |= {f"S/{name}": bridge.S, f"T/{name}": bridge.T, f"E/{name}": bridge.energy}
    arrays |= {f"units/{name}": unit for name, unit in state.units.items()}
    arrays |= {f"made/{k:04}": picture for k, picture in enumerate(state.made)}
    with written_whole(path) as file:
        np.savez(file, step=state.step, log=np.array(state.log), **arrays)


def load_state(path: Path) -> State:
    """Read a state that `save_state` wrote."""
    with np.load(path) as file:
        kinds: dict[str, dict[str, Any]] = {}
        for key in file.files:
            kind, _, name = key.partition("/")
            kinds.setdefault(kind, {})[name] = file[key]
    bridges = {
        name: Bridge(kinds["S"][name], kinds["T"][name], float(kinds["E"][name])) for name in TAUGHT
    }
    units = {name: float(unit) for name, unit in kinds["units"].items()}
    return State(
        int(kinds["step"][""]),
        kinds["tensors"],
        units,
        kinds["mean"],
        kinds["square"],
        bridges,
        kinds["log"][""].tolist(),
        [picture for _, picture in sorted(kinds.get("made", {}).items())],
    )
