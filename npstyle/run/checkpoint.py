"""Checkpoints: a run that was interrupted or killed resumes from its last saved picture.

A checkpoint is an `.npz` file. It holds the picture (float64), the scale and the iteration, and as
JSON everything that the run depends on: the settings, and the SHA-256 of the network and of each
picture. It does not hold the optimiser's state (the history of L-BFGS, the moments of Adam), which
starts afresh. A run may be resumed with more iterations than before, also after its end.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from npstyle.errors import InputError
from npstyle.files import written_whole
from npstyle.networks.network import Network
from npstyle.run.pictures import Pictures, picture_digest
from npstyle.run.settings import Settings
from npstyle.run.table import settings_of
from npstyle.run.transfer import State

FORMAT = 1
"""Version of the file's layout."""


def identity(settings: Settings, network: Network, pictures: Pictures) -> dict[str, Any]:
    """Return everything that must be the same for a run to be resumed, as plain JSON.

    Parameters
    ----------
    settings : Settings
    network : Network
    pictures : Pictures
    """
    found = {
        **asdict(settings),
        "network": network.sha256,
        "photo": picture_digest(pictures.photo),
        "painting": [picture_digest(picture) for picture in pictures.paintings],
        "content-mask": [picture_digest(picture) for picture in pictures.content_masks],
        "style-mask": [picture_digest(picture) for picture in pictures.style_masks],
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def save_checkpoint(path: Path, state: State, own: Mapping[str, Any]) -> None:
    """Write a checkpoint, completely or not at all.

    Parameters
    ----------
    path : Path
    state : State
    own : mapping
        The run's `identity`.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    meta = {
        "format": FORMAT,
        "scale": state.scale,
        "iteration": state.iteration,
        "taken": state.taken,
        "run": dict(own),
    }
    with written_whole(path) as file:
        np.savez(file, image=state.image, meta=np.array(json.dumps(meta)))


def load_checkpoint(path: Path, own: Mapping[str, Any]) -> State:
    """Read a checkpoint of the same run, or of one with fewer iterations.

    Parameters
    ----------
    path : Path
    own : mapping
        The `identity` of the run that is to be resumed.

    Raises
    ------
    InputError
        If the file is missing or is not a checkpoint, or if a setting of the run was different;
        the message names it.
    """
    if not path.is_file():
        raise InputError(f"--resume {path}: there is no such file; check the name")
    try:
        with np.load(path, allow_pickle=False) as file:
            image = np.asarray(file["image"], np.float64)
            meta = json.loads(str(file["meta"]))
        taken = tuple(map(int, meta.get("taken", ())))
        state = State(int(meta["scale"]), int(meta["iteration"]), image, taken=taken)
        run = dict(meta["run"])
        sound = meta["format"] == FORMAT and image.ndim == 3 and image.shape[2] == 3
        sound = sound and bool(np.all(np.isfinite(image))) and len(taken) in (0, state.scale)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"--resume {path}: is not a checkpoint of npstyle, or is damaged; start a new run"
        ) from error
    if not sound:
        raise InputError(f"--resume {path}: has another format; start a new run")
    for name, before, now in _differences(run, own):
        raise InputError(
            f"--resume {path}: {name} was {before} and is {now} now; "
            "give the former value, or start a new run"
        )
    return state


def _differences(run: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    options = {name: entry.option for name, entry in settings_of(Settings).items()}
    for name in dict.fromkeys([*run, *own]):
        longer = name == "iterations" and int(run.get(name, 0)) <= int(own.get(name, 0))
        if run.get(name) != own.get(name) and not longer:
            if name in options:
                yield options[name], run.get(name), own.get(name)
            else:
                yield f"the {name}", "another file", "this one"
