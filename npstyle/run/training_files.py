"""The files of a training: the style, its checkpoint, its log and its preview.

For an output style.npz they are

    style.npz               the style so far, in float16
    style.checkpoint.npz    everything that is needed to resume; removed at the end
    style.log.csv           the terms of the loss, means over the steps between two savings
    style.losses.png        a plot of them, if Matplotlib is installed
    style.preview.png       a photo, painted
"""

import csv
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.engine.feedforward.passes import Gradients
from npstyle.errors import InputError
from npstyle.files import check_destination, check_name, written_whole
from npstyle.images.write import save_image
from npstyle.maths.array import Array
from npstyle.networks.style_layers import tensors_of
from npstyle.networks.style_network import StyleNetwork, save_style_network
from npstyle.networks.weights import SUFFIXES
from npstyle.onepass.train import Training, weights_of, with_weights
from npstyle.run.train_settings import TrainSettings

FORMAT = 1
"""Version of the checkpoint's layout."""

REMOVE = "remove it, and begin again without --resume"
"""What helps if a checkpoint cannot be used."""

DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)
"""What NumPy, and the code that reads what it found, raise for a damaged file."""

FREE = {"minutes", "steps", "save_every", "preview", "threads", "device", "memory"}
"""Settings that may differ when a training is resumed."""


@dataclass
class Log:
    """The terms of the loss, as means over the steps between two savings.

    Attributes
    ----------
    rows : list of dict
        "step", the last step of the row, and the terms.
    sums : dict of float
        Of the steps since the last row.
    count : int
        Number of these steps.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, parts: Mapping[str, float]) -> None:
        """Add the terms of one step."""
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in parts.items()}
        self.count += 1

    def with_last(self, step: int) -> list[dict[str, float]]:
        """Return the rows, with one for the steps since the last of them."""
        if not self.count:
            return self.rows
        means = {name: value / self.count for name, value in self.sums.items()}
        return [*self.rows, {"step": float(step), **means}]

    def end_row(self, step: int) -> None:
        """Begin another row after this step."""
        self.rows, self.sums, self.count = self.with_last(step), {}, 0


@dataclass(frozen=True)
class TrainingFiles:
    """The names of the files of a training.

    Attributes
    ----------
    output : Path
        The style.
    """

    output: Path

    @property
    def checkpoint(self) -> Path:
        """Everything that is needed to resume."""
        return self._beside(".checkpoint.npz")

    @property
    def log(self) -> Path:
        """The terms of the loss."""
        return self._beside(".log.csv")

    @property
    def plot(self) -> Path:
        """Their plot."""
        return self._beside(".losses.png")

    @property
    def preview(self) -> Path:
        """A painted photo."""
        return self._beside(".preview.png")

    def _beside(self, ending: str) -> Path:
        return self.output.with_name(self.output.stem + ending)

    def check(self, resume: bool, named: bool) -> None:
        """Raise InputError unless a training can begin, or be resumed, with these files.

        Parameters
        ----------
        resume : bool
        named : bool
            Whether the user named the output, which is then replaced, with the files beside it.
        """
        check_destination(self.output, SUFFIXES)
        check_name(self.checkpoint)  # the longest of the names
        if resume and not self.checkpoint.is_file():
            raise InputError(
                f"--resume: there is no {self.checkpoint}, which exists until a training is done; "
                "leave out --resume to begin one"
            )
        if not resume and self.checkpoint.is_file():
            raise InputError(
                f"{self.checkpoint}: a training of {self.output} was not finished; add --resume to "
                "go on with it, or remove this file"
            )
        if not (resume or (named and self.output.exists())):
            for path in (self.output, self.log, self.plot, self.preview):
                if path.exists():
                    raise InputError(f"{path}: is there already; name another output by -o")


def identity(
    settings: TrainSettings, painting: Path, photos: Sequence[Path], judge_sha256: str
) -> dict[str, Any]:
    """Return everything that must be the same for a training to be resumed, as plain JSON."""
    # Many collections number their files, so that names alone are the same in two of them.
    names = "\n".join(f"{photo.name} {photo.stat().st_size}" for photo in photos)
    own = {name: value for name, value in asdict(settings).items() if name not in FREE}
    own["network"] = judge_sha256
    own["painting"] = hashlib.sha256(painting.read_bytes()).hexdigest()
    own["photos"] = hashlib.sha256(os.fsencode(names)).hexdigest()
    return own


def save_training(
    files: TrainingFiles, training: Training, steps: int | None, log: Log, own: Mapping[str, Any]
) -> None:
    """Write the style and the checkpoint, each completely or not at all.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    save_style(files.output, training.network)
    arrays: dict[str, Any] = {}
    weights = {layer.name: weights_of(layer) for layer in training.network.transformer}
    for kind, tree in (("weights", weights), ("mean", training.mean), ("square", training.square)):
        for layer, found in tree.items():
            arrays |= {f"{kind}/{layer}/{name}": array for name, array in found.items()}
    meta = {
        "format": FORMAT,
        "step": training.step,
        "steps": steps,
        "log": asdict(log),
        "training": dict(own),
    }
    with written_whole(files.checkpoint) as file:
        np.savez(file, **arrays, meta=np.array(json.dumps(meta)))


def save_style(path: Path, network: StyleNetwork) -> None:
    """Write a style with its weights in float16; arrays with numbers beyond its range in float32.

    Raises
    ------
    InputError
        If a weight is NaN or infinite, or the file cannot be written.
    """
    largest = np.finfo(np.float16).max
    packed = {
        f"transformer/{name}": array.astype(np.float16)
        for name, array in tensors_of(network.transformer)
        if np.abs(array).max() <= largest
    }
    save_style_network(path, network, packed)


def load_training(
    files: TrainingFiles, new: Training, own: Mapping[str, Any]
) -> tuple[Training, int | None, Log]:
    """Read the checkpoint of the same training.

    Parameters
    ----------
    files : TrainingFiles
    new : Training
        The state before the first step, whose arrays are replaced.
    own : mapping
        The `identity` of the training that is to be resumed.

    Returns
    -------
    training : Training
    steps : int or None
        Of the whole training, if they were known.
    log : Log

    Raises
    ------
    InputError
        If the file is damaged, or a setting was different; the message names it.
    """
    path = files.checkpoint
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if "/" in name}
            meta = json.loads(str(file["meta"]))
        version, before = meta["format"], dict(meta["training"])
    except DAMAGES as error:
        raise _damaged(path) from error
    if version != FORMAT:
        raise InputError(f"{path}: has another format; {REMOVE}")
    _check_same(path, before, own)
    try:
        steps = None if meta["steps"] is None else int(meta["steps"])
        return _restored(new, arrays, int(meta["step"])), steps, _restored_log(meta["log"])
    except DAMAGES as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: is not a checkpoint of a training, or is damaged; {REMOVE}")


def _restored_log(entries: Mapping[str, Any]) -> Log:
    rows = [_numbers(row) for row in entries["rows"]]
    return Log(rows, _numbers(entries["sums"]), int(entries["count"]))


def _numbers(entries: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in entries.items()}


def _check_same(path: Path, before: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise InputError, naming the option, if a setting was another one before."""
    for name in dict.fromkeys([*before, *own]):
        if before.get(name) != own.get(name):
            raise InputError(_difference(path, name, before.get(name), own.get(name)))


def _difference(path: Path, name: str, before: Any, now: Any) -> str:
    other = {"painting": "another painting", "photos": "other photos", "network": "another network"}
    if name in other:
        return f"--resume: {path} is of a training with {other[name]}; give the same as before"
    option = "--" + name.replace("_", "-")
    return f"{option} {now}: {path} was written with {before}; give the former value"


def _restored(new: Training, arrays: Mapping[str, Array], step: int) -> Training:
    """The training with the arrays of a file; raises KeyError or ValueError if they do not fit."""

    def taken(kind: str, layer: str, name: str, like: Array) -> Array:
        array = arrays[f"{kind}/{layer}/{name}"].astype(np.float32)
        if array.shape != like.shape or not np.all(np.isfinite(array)):
            raise ValueError(f"{kind}/{layer}/{name} is not finite, or has another shape")
        return array

    def tree(kind: str, of: Mapping[str, Mapping[str, Array]]) -> Gradients:
        return {
            layer: {name: taken(kind, layer, name, array) for name, array in found.items()}
            for layer, found in of.items()
        }

    network = with_weights(new.network, tree("weights", new.mean))
    return Training(network, tree("mean", new.mean), tree("square", new.square), step)


def save_log(files: TrainingFiles, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the rows of the log, and plot them if Matplotlib is installed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{k: f"{v:.6g}" for k, v in row.items()} for row in rows])
    with written_whole(files.log) as file:
        file.write(text.getvalue().encode())
    if find_spec("matplotlib") is not None:
        from npstyle.run.plots import plot_training

        plot_training(files.plot, rows)


def save_preview(files: TrainingFiles, picture: Array) -> None:
    """Write the painted photo, (height, width, 3), RGB, 0..255."""
    save_image(files.preview, picture)
