"""One run on the command line: progress, signals, checkpoints, and the picture at the end."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from click.exceptions import Exit

from npstyle.cli import console
from npstyle.cli.loops import load_loops
from npstyle.engine.interrupts import ending_signals, noted_interrupts
from npstyle.files import check_apart, check_destination
from npstyle.images.write import check_output, save_image
from npstyle.networks.network import load_network
from npstyle.run.checkpoint import identity, load_checkpoint, save_checkpoint
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures, check_pictures, files_of, picture_name
from npstyle.run.plan import Plan, fast_route
from npstyle.run.progress import ProgressDisplay
from npstyle.run.recording import Outputs, Recording
from npstyle.run.settings import NOT_FINITE, Settings
from npstyle.run.strategy import choose_device
from npstyle.run.transfer import State, Transfer, run_steps, transfer_pictures
from npstyle.search.optimize import Progress

if TYPE_CHECKING:
    from npstyle.atlas.live.server import Server

CHECKPOINT_EVERY = 10
"""Steps between two checkpoints where `--save-every` is not given."""

NO_PICTURE = "interrupted before there was a picture to keep"


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
    steps: tuple[int, ...] = field(init=False)
    told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.steps = run_steps(self.settings, self.state)
        self.display = ProgressDisplay(sum(self.steps), self.outputs.quiet)
        self.recording = Recording(self.outputs, sum(self.steps))

    def announce(self, plan: Plan) -> None:
        """Check that the format allows the size, print the plan, and start the clock."""
        check_output(self.output, plan.photo_sizes[-1])
        if not self.outputs.quiet:
            console.print_plan(plan, self.network, self.output)
            if self.state is not None:
                size = self.settings.scale_sizes()[self.state.scale]
                done = f"{self.state.iteration} of {self.steps[self.state.scale]} steps"
                print(f"resumed   after {done} at size {size}", flush=True)
        if self.live is not None:
            self._describe(plan, self.live)
        self.display.begin(plan, self.steps)

    def _describe(self, plan: Plan, live: "Server") -> None:
        """Tell the page what the run will do, and the user where the page is."""
        from npstyle.atlas.live.page import facts

        pictures = self.pictures
        named = {
            "photo": picture_name(pictures.photo),
            "painting": ", ".join(map(picture_name, pictures.paintings)) or "none",
            "output": picture_name(self.output),
        }
        live.feed.describe(facts(plan, named), sum(self.steps))
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
            with self.recording.noted("--save-every"):
                save_image(self.output, progress.best_image)
        self.tell_problems()
        if self.live is not None:
            pace, feed = self.display.pace, self.live.feed
            feed.publish(progress, *pace.measure(progress.iteration, progress.evaluations))
            pace.rest(feed.wait(progress, self.display.say))

    def close(self) -> None:
        """Save the last checkpoint and finish the records."""
        self._save_checkpoint()
        self.recording.close()
        self.tell_problems()

    def tell_problems(self) -> None:
        """Print why a file could not be written, once, so that the user can make room."""
        for kind, problem in self.recording.problems.items():
            if kind not in self.told:
                print(f"npstyle: {problem}", file=sys.stderr, flush=True)
        self.told |= set(self.recording.problems)

    def _save_checkpoint(self) -> None:
        if self.outputs.checkpoint is not None and self.latest is not None:
            with self.recording.noted("--checkpoint"):
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
    _check_files(pictures, network, settings, output, outputs)
    # This network serves for the identity only and is not kept; the run loads its own.
    own = (
        identity(settings, load_network(network), pictures)
        if outputs.checkpoint or outputs.resume
        else {}
    )
    state = None if outputs.resume is None else load_checkpoint(outputs.resume, own)
    with _live(outputs, pictures) as live, ending_signals() as received:
        run = _Run(pictures, network, output, settings, outputs, own, state, live)
        done = _transfer(run, machine, received)
        _finish(done, run, received)


def _check_files(
    pictures: Pictures, network: str | None, settings: Settings, output: Path, outputs: Outputs
) -> None:
    """Raise InputError if a file cannot be read or written, or is to be both."""
    check_output(output)
    if outputs.checkpoint is not None:
        check_destination(outputs.checkpoint, (".npz",))
    Recording(outputs, 1).check()
    check_pictures(pictures, settings)
    written = {
        "--output": output,
        **{f"--{name}": getattr(outputs, name) for name in ("checkpoint", "gif", "log", "plot")},
    }
    check_apart(written, [*files_of(pictures), Path(settings.init), Path(network or "")])


def _live(outputs: Outputs, pictures: Pictures) -> AbstractContextManager["Server | None"]:
    """Return the server of the run's page, or None without `--live`."""
    if not outputs.live:
        return nullcontext()
    from npstyle.atlas.live.page import live_page

    def say(sentence: str) -> None:
        if not outputs.quiet:
            print(sentence, flush=True)

    return live_page(Path(str(pictures.photo)), outputs.live_port, not outputs.no_open, say)


def _transfer(run: _Run, machine: Machine, received: list[int]) -> Transfer:
    """Run a transfer; the last item of `received` is the signal that ended it."""
    try:
        with run.display:
            if fast_route(run.settings):
                load_loops(choose_device(machine), run.outputs.quiet)
            return transfer_pictures(
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
        _fail(NO_PICTURE, 128 + received[-1])
    finally:
        with noted_interrupts():  # a closed terminal sends two signals; the second stops no file
            run.close()


def _finish(done: Transfer, run: _Run, received: list[int]) -> None:
    """Write the picture and say how the run ended."""
    result, output = done.result, run.output
    if not result.parts:
        if result.stopped == "interrupted":
            _fail(NO_PICTURE, 128 + received[-1])
        _fail(NOT_FINITE, 2)
    with noted_interrupts():
        save_image(output, result.image, done.record)
    ending = console.ending(result)
    if not run.outputs.quiet:
        print(f"{ending}\nwrote {output}", flush=True)
    if run.live is not None:
        run.live.feed.end(f"{ending}; wrote {picture_name(output)}", result.image)
    if result.stopped == "interrupted":
        raise Exit(128 + received[-1])
    if result.stopped == "not finite":
        _fail(f"the loss became infinite or NaN; {output} is the best picture before that", 1)
    run.recording.problems.pop("--save-every", None)  # the picture is written now
    if run.recording.problems:
        raise Exit(1)


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"npstyle: {sentence}", file=sys.stderr)
    raise Exit(code)
