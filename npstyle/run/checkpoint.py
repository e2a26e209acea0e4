"""Checkpoints: a run that was stopped, or killed, goes on from its last saved picture.

A checkpoint is an `.npz` with the picture (float64), the scale and the iteration there, and as
JSON what the run depends on: the settings, and the SHA-256 of the network and of each picture. The
optimiser's own memory (the pairs of L-BFGS-B, the moments of Adam) is not in it, and starts anew.
"""

import hashlib
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
from npstyle.run.pictures import Picture, Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import State

FORMAT = 1


def identity(settings: Settings, network: Network, pictures: Pictures) -> dict[str, Any]:
    """What must be the same for a run to go on, as plain JSON.

    Parameters
    ----------
    settings : Settings
    network : Network
    pictures : Pictures
    """
    found = {
        **asdict(settings),
        "network": network.sha256,
        "photo": _digest(pictures.photo),
        "painting": [_digest(picture) for picture in pictures.paintings],
        "content-mask": [_digest(picture) for picture in pictures.content_masks],
        "style-mask": [_digest(picture) for picture in pictures.style_masks],
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def save_checkpoint(path: Path, state: State, own: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : Path
    state : State
    own : mapping
        From `identity`.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    meta = {"format": FORMAT, "scale": state.scale, "iteration": state.iteration, "run": dict(own)}
    with written_whole(path) as file:
        np.savez(file, image=state.image, meta=np.array(json.dumps(meta)))


def load_checkpoint(path: Path, own: Mapping[str, Any]) -> State:
    """Read a checkpoint of the same run.

    Parameters
    ----------
    path : Path
    own : mapping
        From `identity`, of the run that wants to go on.

    Raises
    ------
    InputError
        If the file is missing, no checkpoint, or of a run with another setting, which is named.
    """
    if not path.is_file():
        raise InputError(f"--resume {path}: there is no such checkpoint; check the name")
    try:
        with np.load(path, allow_pickle=False) as file:
            image = np.asarray(file["image"], np.float64)
            meta = json.loads(str(file["meta"]))
        state = State(int(meta["scale"]), int(meta["iteration"]), image)
        run = dict(meta["run"])
        sound = meta["format"] == FORMAT and image.ndim == 3 and image.shape[2] == 3
        sound = sound and bool(np.all(np.isfinite(image)))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"--resume {path}: is no checkpoint by npstyle, or a damaged one; start the run anew"
        ) from error
    if not sound:
        raise InputError(f"--resume {path}: is of another format; start the run anew")
    for name, before, now in _differences(run, own):
        raise InputError(
            f"--resume {path}: {name} was {before} and is {now} now; "
            "give it as it was, or start the run anew"
        )
    return state


def _differences(run: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*run, *own]):
        if run.get(name) != own.get(name):
            if name in ("network", "photo", "painting", "content-mask", "style-mask"):
                yield f"the {name}", "another file", "this one"
            else:
                yield f"--{name.replace('_', '-')}", run.get(name), own.get(name)


def _digest(picture: Picture) -> str:
    data = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture.tobytes()
    return hashlib.sha256(data).hexdigest()
