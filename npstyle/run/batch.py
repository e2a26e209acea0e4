"""Many transfers, one after another, from a list in a file.

A list is TOML: what stands at its top holds for every job, and each job may say otherwise.

    network = "vgg19"
    size = 384

    [[job]]
    photo = "town.jpg"
    painting = ["night.jpg", "scream.jpg"]
    blend = [3, 7]
    output = "town-both.png"

or CSV, a job a line, under a line of names; several values in a field have semicolons between. The
names are those of `npstyle transfer`'s options. File names are relative to the list.
"""

import csv
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, get_args

from npstyle.engine.losses import Scaling
from npstyle.errors import InputError
from npstyle.images.color import Color
from npstyle.images.write import check_output, save_image
from npstyle.maths.network import PaddingMode, Pooling
from npstyle.networks.network import Network, load_network
from npstyle.run.pictures import Pictures
from npstyle.run.settings import PRESETS, Optimizer, Precision, Settings, parse_layers
from npstyle.run.strategy import MemoryLimits
from npstyle.run.transfer import transfer_pictures

PICTURES = ("photo", "painting", "content_mask", "style_mask")
LISTS = ("painting", "content_mask", "style_mask", "blend", "scales")
RENAMED: dict[str, str] = {}
"""Options whose setting has another name."""

CHOICES = {
    "pooling": get_args(Pooling),
    "padding": get_args(PaddingMode),
    "color": get_args(Color),
    "scaling": get_args(Scaling),
    "optimizer": get_args(Optimizer),
    "dtype": ("float32", "float64"),
    "precision": get_args(Precision),
}
"""What the settings that are words may be."""

_stop: Event | None = None


@dataclass(frozen=True)
class Job:
    """One transfer of a list: what it is made of, with which network, and where it goes."""

    pictures: Pictures
    settings: Settings
    network: str | None
    output: Path


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its summary, whether there is a picture, whether the user interrupted it."""

    summary: str
    succeeded: bool
    interrupted: bool = False


def read_jobs(path: Path) -> list[dict[str, Any]]:
    """The jobs of a list, each as names and values.

    Raises
    ------
    InputError
        If the file is missing, no TOML or CSV, or holds no job.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, strict=True))
            jobs: list[dict[str, Any]] = [
                {k: v for k, v in row.items() if v not in (None, "")} for row in rows
            ]
        elif path.suffix.lower() == ".toml":
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            own = found.pop("job", [])
            if not isinstance(own, list) or not all(isinstance(job, dict) for job in own):
                raise InputError(f"{path}: `job` must be a list; write [[job]] above each")
            jobs = [{**found, **job} for job in own]
        else:
            raise InputError(f"{path}: is neither .toml nor .csv; give a list of jobs")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be understood ({error}); mend that line") from error
    if not jobs:
        raise InputError(f"{path}: holds no job; write [[job]] with a photo and a painting")
    return jobs


def parse_job(entries: Mapping[str, Any], folder: Path) -> Job:
    """Turn the names and values of one job into pictures and settings.

    Parameters
    ----------
    entries : mapping
        As `read_jobs` returns it.
    folder : Path
        What file names are relative to.

    Raises
    ------
    InputError
        If a name is unknown, or a value cannot be used.
    """
    given = {str(name).replace("-", "_"): value for name, value in entries.items()}
    given = {RENAMED.get(name, name): value for name, value in given.items()}
    for name in LISTS:
        given[name] = _list(given.get(name))
    pictures = {name: given.pop(name, None) for name in PICTURES}
    output, network, preset = (given.pop(name, None) for name in ("output", "network", "preset"))
    if not pictures["photo"] or not output:
        raise InputError("a job needs a photo and an output")
    if preset not in (None, *PRESETS):
        raise InputError(f"preset {preset}: there are {', '.join(PRESETS)}")
    base = PRESETS[preset or "gatys"]
    known = {field.name: getattr(base, field.name) for field in fields(Settings)}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"{unknown[0]}: there is no such setting; see npstyle transfer --help")
    chosen = {
        name: _value(name, value, known[name], share=base.scaling == "sums")
        for name, value in given.items()
        if value not in (None, ())
    }
    if "scales" in chosen and isinstance(chosen["scales"], tuple):
        chosen["size"] = chosen["scales"][-1]
    init = chosen.get("init")
    if init is not None and (folder / init).is_file():
        chosen["init"] = str(folder / init)
    return Job(
        Pictures(
            folder / str(pictures["photo"]),
            *(tuple(folder / str(p) for p in pictures[name]) for name in PICTURES[1:]),
        ),
        replace(base, **chosen),
        None if network is None else _network_name(str(network), folder),
        folder / str(output),
    )


def run_job(
    entries: Mapping[str, Any],
    folder: Path,
    threads: int | None,
    device: str = "auto",
    limits: MemoryLimits | None = None,
) -> Outcome:
    """Do one job; whatever is wrong with it becomes its summary."""
    start = time.monotonic()
    try:
        job = parse_job(entries, folder)
        check_output(job.output)
        done = transfer_pictures(
            job.pictures,
            _load(job.network),
            job.settings,
            threads=threads,
            device=device,
            limits=limits,
        )
        result = done.result
        if not result.parts:
            return Outcome(f"{job.output}: {result.stopped} at the first evaluation", False)
        save_image(job.output, result.image, done.record)
    except InputError as error:
        return Outcome(f"{entries.get('output', 'job')}: {error}", False)
    except KeyboardInterrupt:
        return Outcome(f"{entries.get('output', 'job')}: interrupted", False, interrupted=True)
    summary = (
        f"{job.output}: {result.iterations} iterations, loss {result.loss:.3g}, "
        f"{result.stopped}, {time.monotonic() - start:.1f} s"
    )
    return Outcome(summary, result.stopped != "not finite", result.stopped == "interrupted")


def start_worker(stop: Event) -> None:
    """Make a process of several ready: it starts no job any more once `stop` is set."""
    global _stop
    _stop = stop


def run_unless_stopped(
    entries: Mapping[str, Any],
    folder: Path,
    threads: int | None,
    device: str = "auto",
    limits: MemoryLimits | None = None,
) -> Outcome:
    """Do one job in a process of several; an interrupted one stops the others."""
    assert _stop is not None  # start_worker was called
    if _stop.is_set():
        return Outcome(f"{entries.get('output', 'job')}: interrupted", False, interrupted=True)
    outcome = run_job(entries, folder, threads, device, limits)
    if outcome.interrupted:
        _stop.set()
    return outcome


@lru_cache(maxsize=1)
def _load(name: str | None) -> Network:
    """Jobs in a row with one network load it once."""
    return load_network(name)


def _network_name(name: str, folder: Path) -> str:
    return str(folder / name) if (folder / name).is_file() else name


def _list(value: Any) -> Any:
    """A tuple, from a list, from one value, or from text with semicolons; "auto" stays."""
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(";") if part.strip())
        return "auto" if parts == ("auto",) else parts
    if isinstance(value, list | tuple):
        return tuple(value)
    return () if value is None else (value,)


def _value(name: str, value: Any, usual: Any, share: bool) -> Any:
    """A setting's value, from TOML or from text; `share` as for `parse_layers`."""
    option = "--" + name.replace("_", "-")
    try:
        if name in ("content_layers", "style_layers"):
            if isinstance(value, dict):
                return {str(layer): float(weight) for layer, weight in value.items()}
            texts = [value.replace(";", ",")] if isinstance(value, str) else list(map(str, value))
            return parse_layers(option, texts, share)
        if name == "scales":
            return value if value == "auto" else tuple(int(size) for size in value)
        if name == "blend":
            return tuple(map(float, value))
        if isinstance(usual, bool):
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(usual, int | float) and isinstance(value, str | int | float):
            return type(usual)(value)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{option} {value}: is no value for it; see npstyle transfer") from error
    if not isinstance(value, str) or value not in CHOICES.get(name, (value,)):
        raise InputError(f"{option} {value}: give one of {', '.join(CHOICES.get(name, ('text',)))}")
    return value
