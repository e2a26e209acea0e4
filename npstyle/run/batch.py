"""Many transfers, one after another, from a list in a file.

In a TOML list, the values at the top apply to every job, and each job may override them:

    network = "vgg19"
    size = 384

    [[job]]
    photo = "town.jpg"
    painting = ["night.jpg", "scream.jpg"]
    blend = [3, 7]
    output = "town-both.png"

In a CSV list, the first line holds the names and every other line is a job; semicolons separate
several values in a field. Spreadsheets of some countries write semicolons between the fields, too;
several values are then in quotes, as the spreadsheet writes them. The names are those of the
options of `npstyle transfer`. File names are relative to the list.
"""

import csv
import io
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from npstyle.engine.interrupts import ending_signals_interrupt, noted_interrupts
from npstyle.errors import InputError, print_warnings_in_one_line
from npstyle.files import check_apart, check_name
from npstyle.images.write import check_output, save_image
from npstyle.networks.network import Network, load_network
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures, files_of
from npstyle.run.settings import NOT_FINITE, Settings, with_preset
from npstyle.run.table import parse_paths, read_given, settings_of
from npstyle.run.transfer import transfer_pictures

ENCODING = "utf-8-sig"
"""UTF-8, after a byte order mark or not; some editors and spreadsheets write one."""

_stop: Event | None = None


@dataclass(frozen=True)
class Job:
    """One transfer of a list."""

    pictures: Pictures
    settings: Settings
    network: str | None
    output: Path


@dataclass(frozen=True)
class Outcome:
    """How a job ended: a summary, whether a picture was written, whether the user interrupted."""

    summary: str
    succeeded: bool
    interrupted: bool = False


def read_jobs(path: Path) -> list[dict[str, Any]]:
    """Read the jobs of a list, each as names and values.

    Raises
    ------
    InputError
        If the file is missing, is not TOML or CSV, contains no job, or two that write one file.
    """
    try:
        if path.suffix.lower() == ".csv":
            text = path.read_bytes().decode(ENCODING)
            jobs = _csv_jobs(path, text)
        elif path.suffix.lower() == ".toml":
            found = tomllib.loads(path.read_text(encoding=ENCODING))
            own = found.pop("job", [])
            if not isinstance(own, list) or not all(isinstance(job, dict) for job in own):
                raise InputError(f"{path}: `job` must be a list; write [[job]] above each job")
            jobs = [{**found, **job} for job in own]
        else:
            raise InputError(f"{path}: is neither .toml nor .csv; give a list of jobs")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    except (tomllib.TOMLDecodeError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: has a mistake ({error}); correct it") from error
    if not jobs:
        form = "a line" if path.suffix.lower() == ".csv" else "[[job]]"
        raise InputError(f"{path}: contains no job; write {form} with a photo and a painting")
    _check_outputs(path, jobs)
    return jobs


def _csv_jobs(path: Path, text: str) -> list[dict[str, Any]]:
    """Return the jobs of a CSV list; raises InputError if a line has more fields than the first."""
    reader = csv.DictReader(io.StringIO(text, ""), strict=True, delimiter=_mark(text))
    jobs: list[dict[str, Any]] = []
    for row in reader:
        if None in row:
            raise InputError(
                f"{path}: line {reader.line_num} has more fields than the first line has names; "
                'put a field with commas in quotes, such as "3,7"'
            )
        jobs.append({name: value for name, value in row.items() if value not in (None, "")})
    return jobs


def _check_outputs(path: Path, jobs: list[dict[str, Any]]) -> None:
    """Raise InputError if the picture of a job would replace that of another."""
    outputs = [os.path.normpath(str(job["output"])) for job in jobs if job.get("output")]
    for output in outputs:
        if outputs.count(output) > 1:
            raise InputError(f"{path}: two jobs write {output}; give each an output of its own")


def _mark(text: str) -> str:
    """Return what separates the fields of a CSV list: no name in its first line contains either."""
    first = text.partition("\n")[0]
    return ";" if ";" in first and "," not in first else ","


def parse_job(entries: Mapping[str, Any], folder: Path) -> Job:
    """Turn the names and values of one job into pictures and settings.

    Parameters
    ----------
    entries : mapping
        A job of `read_jobs`. A mask or setting is named as its option, with hyphens or underscores.
    folder : Path
        The folder that file names are relative to.

    Raises
    ------
    InputError
        If a name is unknown, or a value cannot be used.
    """
    given = {str(name).replace("_", "-"): value for name, value in entries.items()}
    photo, painting, output, network = (
        given.pop(name, None) for name in ("photo", "painting", "output", "network")
    )
    if not photo or not output:
        raise InputError("a job needs a photo and an output; add the missing one")
    tables = [*settings_of(Settings).values(), *settings_of(Pictures).values()]
    names = {entry.option.removeprefix("--"): entry.name for entry in tables}
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InputError(f"{unknown[0]}: there is no such setting; see npstyle transfer --help")
    given = {names[name]: value for name, value in given.items()}
    chosen = read_given(Settings, given)
    if isinstance(chosen.get("scales"), tuple):
        # A size at the top of the list is for the jobs without sizes of their own.
        chosen.pop("size", None)
    if "init" in chosen and (folder / chosen["init"]).is_file():
        chosen["init"] = str(folder / chosen["init"])
    masks = read_given(Pictures, given)
    return Job(
        Pictures(
            folder / str(photo),
            _inside(folder, parse_paths("painting", painting or ())),
            **{name: _inside(folder, paths) for name, paths in masks.items()},
        ),
        with_preset(chosen),
        None if network is None else _network_name(str(network), folder),
        folder / str(output),
    )


def run_job(entries: Mapping[str, Any], folder: Path, machine: Machine) -> Outcome:
    """Run one job; an error becomes its summary."""
    start = time.monotonic()
    try:
        job = parse_job(entries, folder)
        check_output(job.output)
        read = [*files_of(job.pictures), Path(job.settings.init), Path(job.network or "")]
        for path in read:
            check_name(path)
        check_apart({"output": job.output}, read)
        done = transfer_pictures(
            job.pictures,
            _load(job.network),
            job.settings,
            machine,
            announce=lambda plan: check_output(job.output, plan.photo_sizes[-1]),
        )
        result = done.result
        if not result.parts:
            ended = result.stopped == "interrupted"
            return Outcome(f"{job.output}: {'interrupted' if ended else NOT_FINITE}", False, ended)
        with noted_interrupts():
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
    """Prepare a worker process: it starts no more jobs once `stop` is set."""
    global _stop
    _stop = stop
    ending_signals_interrupt([])
    print_warnings_in_one_line()


def run_unless_stopped(entries: Mapping[str, Any], folder: Path, machine: Machine) -> Outcome:
    """Run one job in a worker process; if it is interrupted, the others stop, too."""
    assert _stop is not None  # start_worker was called
    if _stop.is_set():
        return Outcome(f"{entries.get('output', 'job')}: interrupted", False, interrupted=True)
    outcome = run_job(entries, folder, machine)
    if outcome.interrupted:
        _stop.set()
    return outcome


@lru_cache(maxsize=1)
def _load(name: str | None) -> Network:
    """Load a network once for consecutive jobs that use it."""
    return load_network(name)


def _network_name(name: str, folder: Path) -> str:
    return str(folder / name) if (folder / name).is_file() else name


def _inside(folder: Path, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(folder / path for path in paths)
