"""Many transfers at once: `npstyle batch`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npstyle.cli import options

if TYPE_CHECKING:
    from collections.abc import Generator

    from npstyle.run.batch import Outcome
    from npstyle.run.strategy import MemoryLimits


def batch(
    file: Annotated[Path, typer.Argument(metavar="JOBS.toml|JOBS.csv", help="The list of jobs.")],
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Jobs at the same time, each in a process of its own with its share of the "
            "threads, and with the network in memory as often.",
        ),
    ] = 1,
    threads: options.Threads = None,
    device: options.Device = "auto",
    tile: options.Tile = "auto",
    memory: options.Memory = None,
    scratch: options.Scratch = None,
    cluster: options.Cluster = None,
    quiet: options.Quiet = False,
) -> None:
    r"""Do many transfers: photos, paintings and settings from a list, a summary line for each.

    A job that cannot be done is told in its line, and the others are done; the exit code is then
    1. With one job at a time the network is loaded once.

    [bold]npstyle batch jobs.toml[/bold], where jobs.toml holds

        size = 384

        [\[job]]
        photo = "town.jpg"
        painting = "starry_night.jpg"
        output = "town-night.png"
        style-weight = 2000

    What stands above the first job holds for all of them; names are those of transfer's options,
    and file names are relative to the list. A CSV file has the names in its first line.
    """
    from npstyle.cli.console import print_device
    from npstyle.engine.machine import thread_count
    from npstyle.run.batch import read_jobs
    from npstyle.run.strategy import choose_device, parse_limits

    limits = parse_limits(tile, memory, scratch, cluster)
    found = read_jobs(file)
    place = choose_device(device, limits)
    if not quiet:
        print_device(place)
    failed = done = 0
    share = max(1, thread_count(threads) // jobs)
    outcomes = _outcomes(found, file.parent, jobs, share, str(place), limits)
    for done, outcome in enumerate(outcomes, start=1):
        failed += not outcome.succeeded
        if not quiet or not outcome.succeeded:
            verdict = "" if outcome.succeeded else "FAILED  "
            text = f"{done}/{len(found)}  {verdict}{outcome.summary}"
            typer.echo(text, err=not outcome.succeeded)
        if outcome.interrupted:
            outcomes.close()
            raise typer.Exit(130)
    if failed:
        typer.echo(f"npstyle: {failed} of {len(found)} jobs failed", err=True)
        raise typer.Exit(1)


def _outcomes(
    found: "list[dict[str, Any]]",
    folder: Path,
    jobs: int,
    threads: int,
    device: str,
    limits: "MemoryLimits",
) -> "Generator[Outcome, None, None]":
    """Outcomes in the order of the list, as soon as they are there."""
    from npstyle.run.batch import run_job, run_unless_stopped, start_worker

    if jobs == 1:
        for entries in found:
            yield run_job(entries, folder, threads, device, limits)
        return
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    # Each process starts afresh: a fork would copy locks of the BLAS library in any state.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    # Ctrl-C reaches every process: those at work end as a single run does, and start no other job.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: stop.set())
    workers = min(jobs, len(found))
    try:
        with ProcessPoolExecutor(workers, context, start_worker, (stop,)) as pool:
            futures = [
                pool.submit(run_unless_stopped, job, folder, threads, device, limits)
                for job in found
            ]
            for future in futures:
                yield future.result()
    finally:
        signal.signal(signal.SIGINT, before)
