"""One run on the command line: progress, signals, checkpoints, and the picture at the end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from npstyle.cli import console
from npstyle.files import check_destination
from npstyle.images.write import check_output, save_image
from npstyle.networks.network import load_network
from npstyle.run.checkpoint import identity, load_checkpoint, save_checkpoint
from npstyle.run.pictures import Pictures, check_pictures
from npstyle.run.plan import Plan
from npstyle.run.recording import Recording
from npstyle.run.settings import Settings
from npstyle.run.strategy import MemoryLimits
from npstyle.run.transfer import State, transfer_pictures
from npstyle.search.optimize import Progress

CHECKPOINT_EVERY = 10
"""Steps between two checkpoints if --save-every does not say."""


def run_and_save(
    pictures: Pictures,
    output: Path,
    network: str | None,
    settings: Settings,
    *,
    threads: int | None = None,
    device: str = "auto",
    limits: MemoryLimits | None = None,
    save_every: int = 0,
    checkpoint: Path | None = None,
    resume: Path | None = None,
    recording: Recording | None = None,
    quiet: bool = False,
) -> None:
    """Run a transfer and write its picture, with its settings in it."""
    check_output(output)
    if checkpoint is not None:
        check_destination(checkpoint, (".npz",))
    recording = recording or Recording(every=1)
    recording.check()
    check_pictures(pictures, settings)
    state: State | None = None
    latest: list[State] = []
    # The network is not kept here: the run holds its filters transformed.
    own = identity(settings, load_network(network), pictures) if checkpoint or resume else {}
    if resume is not None:
        state = load_checkpoint(resume, own)
    every = save_every or CHECKPOINT_EVERY
    steps = settings.scale_steps()
    display = console.ProgressDisplay(sum(steps), quiet)

    def announce(plan: Plan) -> None:
        if not quiet:
            console.print_plan(plan, network, output)
            if state is not None:
                size = settings.scale_sizes()[state.scale]
                done = f"{state.iteration} of {steps[state.scale]} steps"
                print(f"resumed   after {done} at size {size}", flush=True)
        pixels = [height * width for height, width in plan.photo_sizes]
        display.weigh(
            steps, [n * strategy.cost for n, strategy in zip(pixels, plan.strategies, strict=True)]
        )
        display.start()

    def keep(now: State) -> None:
        latest[:] = [now]
        if checkpoint is not None and now.iteration % every == 0:
            save_checkpoint(checkpoint, now, own)

    def on_iteration(progress: Progress) -> None:
        display.update(progress)
        recording.update(progress)
        if save_every and progress.iteration % save_every == 0:
            save_image(output, progress.best_image)

    with _sigterm_interrupts() as received:
        try:
            with display:
                done = transfer_pictures(
                    pictures,
                    network,
                    settings,
                    threads=threads,
                    device=device,
                    limits=limits,
                    state=state,
                    announce=announce,
                    callback=on_iteration,
                    keep=keep,
                )
        except KeyboardInterrupt:
            _fail("interrupted before there was a picture to keep", 128 + received[-1])
        finally:
            recording.close()
            if checkpoint is not None and latest:
                save_checkpoint(checkpoint, latest[0], own)
    result = done.result
    if not result.parts:
        _fail(f"{result.stopped} at the first evaluation: no picture was written", 1)
    save_image(output, result.image, done.record)
    if not quiet:
        console.print_result(result, output)
    if result.stopped == "interrupted":
        raise typer.Exit(128 + received[-1])
    if result.stopped == "not finite":
        _fail(f"the loss became infinite or NaN; the best picture before that is {output}", 1)


@contextmanager
def _sigterm_interrupts() -> Iterator[list[int]]:
    """Let SIGTERM end the search as Ctrl-C does; yields a list whose last item is the signal."""
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"npstyle: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
