"""Many transfers from a list: `npstyle batch`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from npstyle.cli.options import Command, argument, count, option, options

if TYPE_CHECKING:
    from collections.abc import Generator

    from npstyle.run.batch import Outcome
    from npstyle.run.machine import Machine


def _parameters() -> list[click.Parameter]:
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs

    return [
        argument("file", "The list of jobs.", metavar="JOBS.toml|JOBS.csv"),
        option(
            "--jobs",
            "Jobs to run at the same time. Each has a process of its own, with its share of the "
            "threads and its own copy of the network in memory.",
            default=1,
            metavar="N",
            type=int,
            callback=count,
        ),
        *options(Machine),
        *options(Outputs, "quiet"),
    ]


@click.command(cls=Command, parameters=_parameters)
def batch(file: Path, jobs: int, **entries: Any) -> None:
    r"""Run many transfers from a list of photos, paintings and settings.

    One line summarises each job. A job that fails does not stop the others; the exit code is
    then 1. With one job at a time the network is loaded only once.

    [bold]npstyle batch jobs.toml[/bold], where jobs.toml contains

    [bold]size = 384[/bold]

    [bold]\[\[job]][/bold]

    [bold]photo = "town.jpg"[/bold]

    [bold]painting = "starry_night.jpg"[/bold]

    [bold]output = "town-night.png"[/bold]

    [bold]style-weight = 2000[/bold]

    Values above the first job apply to all jobs. The names are those of transfer's options, and
    file names are relative to the list. A CSV file has the names in its first line.
    """
    from npstyle.cli.console import print_device
    from npstyle.cli.loops import load_loops
    from npstyle.engine.interrupts import ending_signals
    from npstyle.engine.machine import thread_count
    from npstyle.run.batch import read_jobs
    from npstyle.run.machine import Machine
    from npstyle.run.recording import Outputs
    from npstyle.run.strategy import choose_device
    from npstyle.run.table import read_given

    machine = Machine(**read_given(Machine, entries))
    quiet = Outputs(**read_given(Outputs, entries)).quiet
    found = read_jobs(file)
    device = choose_device(machine)
    if not quiet:
        print_device(device)
    load_loops(device, quiet)  # before workers start, so that only one process compiles
    share = max(1, thread_count(machine.threads) // jobs)
    shared = replace(machine, threads=share, device=str(device))
    with ending_signals() as received:
        outcomes = _outcomes(found, file.parent, jobs, shared, received)
        _run_all(outcomes, len(found), quiet, received)


def _run_all(
    outcomes: "Generator[Outcome, None, None]", count: int, quiet: bool, received: list[int]
) -> None:
    """Print the outcomes as they come; the last of `received` is the signal after Ctrl-C."""
    failed = 0
    for done, outcome in enumerate(outcomes, start=1):
        failed += not outcome.succeeded
        if not quiet or not outcome.succeeded:
            verdict = "" if outcome.succeeded else "FAILED  "
            text = f"{done}/{count}  {verdict}{outcome.summary}"
            click.echo(text, err=not outcome.succeeded)
        if outcome.interrupted:
            outcomes.close()
            raise Exit(128 + received[-1])
    if failed:
        click.echo(f"npstyle: {failed} of {count} jobs failed", err=True)
        raise Exit(1)


def _outcomes(
    found: "list[dict[str, Any]]",
    folder: Path,
    jobs: int,
    machine: "Machine",
    received: list[int],
) -> "Generator[Outcome, None, None]":
    """Yield outcomes in the order of the list, as soon as they are known."""
    from npstyle.run.batch import run_job, run_unless_stopped, start_worker

    if jobs == 1:
        for entries in found:
            yield run_job(entries, folder, machine)
        return
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    # Each process starts afresh: a fork would copy the BLAS library's locks, some of them held.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()
        if received[-1] != signal.SIGINT:
            for worker in multiprocessing.active_children():
                worker.terminate()

    # Ctrl-C reaches every process; other signals may reach this one alone, and are passed on. A
    # busy worker ends its run as a single run does, and starts no further job.
    before = signal.signal(signal.SIGINT, end)
    workers = min(jobs, len(found))
    try:
        with ProcessPoolExecutor(workers, context, start_worker, (stop,)) as pool:
            futures = [pool.submit(run_unless_stopped, job, folder, machine) for job in found]
            for future in futures:
                yield future.result()
    finally:
        signal.signal(signal.SIGINT, before)
