"""Where the training of `tools/train_builtin.py` stands, in memory and on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distill import Bridge, Tensors
from numpy.typing import NDArray
from student import TAUGHT, WIDTHS, taught_layers

from npstyle.files import written_whole
from npstyle.maths.network import Conv
from npstyle.networks.network import Network

Array = NDArray[Any]


@dataclass
class State:
    """All that the training needs to go on."""

    step: int
    tensors: Tensors
    units: dict[str, float]
    mean: Tensors
    square: Tensors
    bridges: dict[str, Bridge]
    log: list[list[float]]
    made: list[Array]


def fresh_state(teacher: Network, tensors: Tensors) -> State:
    """The state before the first step."""
    taught = {layer.name for layer in taught_layers()}
    tensors = {name: t for name, t in tensors.items() if name.split(".")[0] in taught}
    units = {}
    for name, tensor in tensors.items():
        weight = tensors[name.replace(".bias", ".weight")]
        unit = float(np.sqrt((weight**2).mean()))
        # A bias moves as much as a filter whose inputs are of the size of the pre-activation.
        units[name] = unit if tensor.ndim == 4 else float(np.abs(tensor).mean())
    widths = {layer.name: len(layer.bias) for layer in teacher.layers if isinstance(layer, Conv)}
    bridges = {name: Bridge.empty(WIDTHS[name.split("_")[0]], widths[name]) for name in TAUGHT}
    zeros = {name: np.zeros_like(tensor) for name, tensor in tensors.items()}
    return State(0, tensors, units, zeros, dict(zeros), bridges, [], [])


def save_state(path: Path, state: State) -> None:
    """Keep everything, whole or not at all."""
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
    """What `save_state` kept."""
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
