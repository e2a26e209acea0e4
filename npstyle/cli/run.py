"""One run on the command line: progress, signals, checkpoints, and the picture at the end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from click.exceptions import Exit

from npstyle.cli import console
from npstyle.cli.loops import load_loops
from npstyle.files import check_destination
from npstyle.images.write import check_output, save_image
from npstyle.networks.network import load_network
from npstyle.run.checkpoint import identity, load_checkpoint, save_checkpoint
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures, check_pictures, picture_name
from npstyle.run.plan import Plan, fast_route
from npstyle.run.progress import ProgressDisplay
from npstyle.run.recording import Outputs, Recording
from npstyle.run.settings import Settings
from npstyle.run.strategy import choose_device
from npstyle.run.transfer import State, Transfer, transfer_pictures
from npstyle.search.optimize import Progress

if TYPE_CHECKING:
    from npstyle.atlas.live.server import Server

CHECKPOINT_EVERY = 10
"""Steps between two checkpoints where `--save-every` is not given."""


@dataclass
class _Run:
    """A run on the command line, which prints, shows, records and saves while it goes on.

    Attributes
    ----------
    pictures : Pictures
    network : str or None
        As given by the user.
    output : Path
    settings : Settings
    outputs : Outputs
    identity : dict
        The run's `npstyle.run.checkpoint.identity`; empty if no checkpoint is read or written.
    state : State or None
        State to resume from.
    live : Server or None
        The server of the run's page.
    """

    pictures: Pictures
    network: str | None
    output: Path
    settings: Settings
    outputs: Outputs
    identity: dict[str, Any]
    state: State | None
    live: "Server | None"
    latest: State | None = None
    display: ProgressDisplay = field(init=False)
    recording: Recording = field(init=False)

    def __post_init__(self) -> None:
        steps = sum(self.settings.scale_steps())
        self.display = ProgressDisplay(steps, self.outputs.quiet)
        self.recording = Recording(self.outputs, steps)

    def announce(self, plan: Plan) -> None:
        """Print the plan and start the clock."""
        steps = self.settings.scale_steps()
        if not self.outputs.quiet:
            console.print_plan(plan, self.network, self.output)
            if self.state is not None:
                size = self.settings.scale_sizes()[self.state.scale]
                done = f"{self.state.iteration} of {steps[self.state.scale]} steps"
                print(f"resumed   after {done} at size {size}", flush=True)
        if self.live is not None:
            self._describe(plan, self.live)
        self.display.begin(plan)

    def _describe(self, plan: Plan, live: "Server") -> None:
        """Tell the page what the run will do, and the user where the page is."""
        from npstyle.atlas.live.page import facts

        pictures = self.pictures
        named = {
            "photo": picture_name(pictures.photo),
            "painting": ", ".join(map(picture_name, pictures.paintings)) or "none",
            "output": str(self.output),
        }
        live.feed.describe(facts(plan, named), sum(self.settings.scale_steps()))
        if not self.outputs.quiet:
            print(f"live      {live.address}", flush=True)

    def keep(self, state: State) -> None:
        """Remember the state of the run, and save a checkpoint every few steps."""
        self.latest = state
        every = self.outputs.save_every or CHECKPOINT_EVERY
        if state.iteration % every == 0:
            self._save_checkpoint()

    def update(self, progress: Progress) -> None:
        """Show and record one iteration, and wait while the page asks for a pause."""
        self.display.update(progress)
        self.recording.update(progress)
        every = self.outputs.save_every
        if every and progress.iteration % every == 0:
            save_image(self.output, progress.best_image)
        if self.live is not None:
            pace, feed = self.display.pace, self.live.feed
            feed.publish(progress, *pace.measure(progress.iteration, progress.evaluations))
            pace.rest(feed.wait(progress, self.display.say))

    def close(self) -> None:
        """Finish the records and save the last checkpoint."""
        self.recording.close()
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if self.outputs.checkpoint is not None and self.latest is not None:
            save_checkpoint(self.outputs.checkpoint, self.latest, self.identity)


def run_and_save(
    pictures: Pictures,
    network: str | None,
    settings: Settings,
    machine: Machine,
    outputs: Outputs,
) -> None:
    """Run a transfer and write its picture, which records the settings, to `outputs.output`."""
    output = outputs.output
    assert output is not None
    check_output(output)
    if outputs.checkpoint is not None:
        check_destination(outputs.checkpoint, (".npz",))
    Recording(outputs, 1).check()
    check_pictures(pictures, settings)
    # This network serves for the identity only and is not kept; the run loads its own.
    own = (
        identity(settings, load_network(network), pictures)
        if outputs.checkpoint or outputs.resume
        else {}
    )
    state = None if outputs.resume is None else load_checkpoint(outputs.resume, own)
    with _live(outputs, pictures) as live:
        run = _Run(pictures, network, output, settings, outputs, own, state, live)
        done, received = _transfer(run, machine)
        _finish(done, output, outputs.quiet, received, live)


def _live(outputs: Outputs, pictures: Pictures) -> AbstractContextManager["Server | None"]:
    """Return the server of the run's page, or None without `--live`."""
    if not outputs.live:
        return nullcontext()
    from npstyle.atlas.live.page import live_page

    def say(sentence: str) -> None:
        if not outputs.quiet:
            print(sentence, flush=True)

    return live_page(Path(str(pictures.photo)), outputs.live_port, not outputs.no_open, say)


def _transfer(run: _Run, machine: Machine) -> tuple[Transfer, int]:
    """Run a transfer; returns it and the last signal."""
    with sigterm_interrupts() as received:
        try:
            with run.display:
                if fast_route(run.settings):
                    load_loops(choose_device(machine), run.outputs.quiet)
                done = transfer_pictures(
                    run.pictures,
                    run.network,
                    run.settings,
                    machine,
                    state=run.state,
                    announce=run.announce,
                    callback=run.update,
                    keep=run.keep,
                )
        except KeyboardInterrupt:
            _fail("interrupted before there was a picture to keep", 128 + received[-1])
        finally:
            run.close()
    return done, received[-1]


def _finish(
    done: Transfer, output: Path, quiet: bool, received: int, live: "Server | None"
) -> None:
    """Write the picture and say how the run ended; `received` is the last signal."""
    result = done.result
    if not result.parts:
        _fail(f"{result.stopped} at the first evaluation: no picture was written", 1)
    save_image(output, result.image, done.record)
    ending = console.ending(result)
    if not quiet:
        print(f"{ending}\nwrote {output}", flush=True)
    if live is not None:
        live.feed.end(f"{ending}; wrote {output}", result.image)
    if result.stopped == "interrupted":
        raise Exit(128 + received)
    if result.stopped == "not finite":
        _fail(f"the loss became infinite or NaN; {output} is the best picture before that", 1)


@contextmanager
def sigterm_interrupts() -> Iterator[list[int]]:
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
    raise Exit(code)
