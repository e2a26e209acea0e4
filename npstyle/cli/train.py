"""Training a style: `npstyle train`."""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from npstyle.cli.options import FILE, Command, argument, option, options
from npstyle.errors import InputError

if TYPE_CHECKING:
    from npstyle.onepass.train import Training
    from npstyle.run.training import Trainer, TrainingStep
    from npstyle.run.training_files import Log, TrainingFiles


def _parameters() -> list[click.Parameter]:
    from npstyle.run.table import PICTURE, RECORDS
    from npstyle.run.train_settings import TrainSettings

    return [
        argument("painting", "The painting whose style the network learns."),
        option(
            "--photos",
            "Folder of photos to learn from, including its subfolders. Any photos will do; a few "
            "hundred are better than a few dozen.",
            panel=PICTURE,
            type=FILE,
            required=True,
            metavar="FOLDER",
        ),
        option(
            "--output -o",
            "File to write. The checkpoint, the log, its plot (with Matplotlib) and a preview are "
            "written beside it, and updated each time the style is saved.",
            panel=PICTURE,
            type=FILE,
            metavar="FILE.npz",
            shown="a .npz in this folder, named after the painting",
        ),
        *options(TrainSettings),
        option(
            "--resume",
            "Resume an interrupted training from its checkpoint.",
            panel=RECORDS,
            is_flag=True,
        ),
        option("--quiet -q", "Print errors only.", panel=RECORDS, is_flag=True),
    ]


@click.command(cls=Command, parameters=_parameters)
def train(
    painting: Path,
    photos: Path,
    output: Path | None,
    resume: bool,
    quiet: bool,
    **entries: Any,
) -> None:
    """Train a network that paints in one pass, in the style of one painting.

    The loss of `npstyle transfer` judges what the network paints, and its gradient moves the
    weights of the network instead of pixels. `npstyle stylize PHOTO --style FILE.npz` then paints
    any photo in a fraction of a second.

    [bold]npstyle train starry_night.jpg --photos photos/ --minutes 90[/bold]

    [bold]npstyle stylize town.jpg --style starry_night.npz[/bold] uses the style, even before its
    training has ended.

    Stronger style: [bold]npstyle train starry_night.jpg --photos photos/ --content-weight 10[/bold]

    Sooner, from another style: [bold]npstyle train wave.jpg --photos photos/ --start
    starry_night[/bold]

    Ctrl-C keeps the style so far, and the same command with [bold]--resume[/bold] goes on. It ends
    with the same weights as an uninterrupted training.
    """
    from npstyle.cli.loops import load_loops
    from npstyle.engine.device import find_device
    from npstyle.engine.interrupts import ending_signals
    from npstyle.images.read import image_size
    from npstyle.run.crops import Crops, usable_photos
    from npstyle.run.table import read_given
    from npstyle.run.train_settings import TrainSettings
    from npstyle.run.training import Trainer
    from npstyle.run.training_files import Log, TrainingFiles, identity, load_training

    settings = TrainSettings(**read_given(TrainSettings, entries))
    files = TrainingFiles(output or Path(f"{painting.stem}.npz"))
    files.check(resume, named=output is not None)
    image_size(painting)  # a wrong name is found before the photos are searched
    found = usable_photos(photos, settings.crop, _note)
    load_loops(find_device(settings.device), quiet)
    trainer = Trainer(painting, Crops(found, settings.crop, _note), settings)
    own = identity(settings, painting, trainer.crops.photos, trainer.judge.network.sha256)
    training, steps, log = trainer.begin(), settings.steps, Log()
    if resume:
        training, former, log = load_training(files, training, own)
        steps = steps or former
        _check_length(steps, training.step)
    if not quiet:
        _print_plan(trainer, files, training, steps)
    with ending_signals() as received, trainer.computing():
        session = _Session(trainer, files, own, quiet, steps, training, log)
        try:
            session.run()
        except KeyboardInterrupt:
            click.echo(f"npstyle: {session.interrupted()}", err=True)
            raise Exit(128 + received[-1]) from None


def _check_length(steps: int | None, done: int) -> None:
    """Raise InputError if a training that goes on has taken more steps than it shall have."""
    if steps is not None and steps < done:
        raise InputError(f"--steps {steps}: the training has taken {done} already; give more")


def _note(line: str) -> None:
    """Print a line about a photo that is skipped."""
    print(line, file=sys.stderr)


class _Bar:
    """A live bar on a terminal, a line at every saving elsewhere, nothing if `quiet`."""

    def __init__(self, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._plain = not quiet and not sys.stdout.isatty()
        columns = BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.description}")
        self._bar = Progress(*columns, expand=True, disable=quiet or self._plain)
        self._task = self._bar.add_task("the first step", total=None)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, step: int, steps: int | None, text: str, saves: bool) -> None:
        """Show a step."""
        self._bar.update(self._task, completed=step, total=steps, description=text)
        if self._plain and saves:
            print(f"{step}/{steps or '?'}  {text}", flush=True)


@dataclass
class _Session:
    """A training on the command line, which shows its progress and saves as it goes.

    Attributes
    ----------
    trainer : Trainer
    files : TrainingFiles
    own : dict
        The training's `identity`.
    quiet : bool
    steps : int or None
        Of the whole training.
    training : Training
        The state after the last step.
    log : Log
    """

    trainer: "Trainer"
    files: "TrainingFiles"
    own: dict[str, Any]
    quiet: bool
    steps: int | None
    training: "Training"
    log: "Log"

    def run(self) -> None:
        """Take all steps, and save the result."""
        first, start = self.training.step, time.monotonic()
        with _Bar(self.quiet) as bar:
            for step in self.trainer.run(self.training, self.steps):
                self.training, self.steps = step.training, step.steps
                self.log.add(step.parts)
                done = self.training.step
                saves = done % self.trainer.settings.save_every == 0 or done == self.steps
                bar.update(done, self.steps, _text(step, first), saves or done == first + 1)
                if saves:
                    self.log.end_row(done)
                    self.save()
        self.clear()
        if not self.quiet:
            minutes = (time.monotonic() - start) / 60
            print(f"wrote {self.files.output} after {self.training.step} steps, {minutes:.1f} min")

    def save(self) -> None:
        """Write all files."""
        from npstyle.run.training_files import save_log, save_preview, save_training

        save_training(self.files, self.training, self.steps, self.log, self.own)
        save_log(self.files, self.log.with_last(self.training.step))
        save_preview(self.files, self.trainer.preview(self.training))

    def clear(self) -> None:
        """Remove the checkpoint of a training that is done."""
        self.files.checkpoint.unlink(missing_ok=True)

    def interrupted(self) -> str:
        """Save what there is after Ctrl-C, and return a line about it."""
        if not self.training.step:
            return "interrupted before the end of the first step; nothing was written"
        with suppress(KeyboardInterrupt):  # a second Ctrl-C ends the preview at most
            self.save()
        return (
            f"interrupted after {self.training.step} steps; {self.files.output} is the style so "
            "far, --resume goes on"
        )


def _text(step: "TrainingStep", first: int) -> str:
    from npstyle.engine.losses import term
    from npstyle.onepass.train import WARM_UP
    from npstyle.run.progress import duration

    content, style = (term(step.parts, kind) for kind in ("content", "style"))
    text = f"content {content:.2e}  style {style:.2e}"
    if step.steps is None:
        return f"{text}  time left known at step {WARM_UP}"
    each = step.seconds / (step.training.step - first)
    return f"{text}  {duration(each * (step.steps - step.training.step))} left"


def _print_plan(
    trainer: "Trainer", files: "TrainingFiles", training: "Training", steps: int | None
) -> None:
    """Print what will be trained, on what, and for how long."""
    from npstyle.cli.console import print_device
    from npstyle.engine.device import missing_loops
    from npstyle.onepass.train import weights_of
    from npstyle.run.train_settings import MINUTES

    settings, (height, width) = trainer.settings, trainer.size
    layers = training.network.transformer
    count = sum(array.size for layer in layers for array in weights_of(layer).values())
    print(f"network   {len(layers)} layers, width {settings.width}, {count:,} weights")
    print(f"painting  {trainer.painting}, {width}x{height}")
    print(
        f"loss      {trainer.judge.network.name}, preset {settings.preset}, "
        f"content weight x {settings.content_weight:g}"
    )
    print(f"photos    {len(trainer.crops.photos)}, in crops of {settings.crop} pixels")
    print_device(trainer.device, trainer.threads)
    missing = "" if trainer.device.is_gpu else missing_loops()
    if missing:
        print(f"          {missing}")
    length = f"{settings.minutes or MINUTES:g} minutes" if steps is None else f"{steps} steps"
    print(f"training  {length}, {settings.batch} crop{'s' * (settings.batch > 1)} per step")
    if training.step:
        print(f"resumed   after {training.step} steps")
    print(f"memory    about {trainer.peak_memory / 1e9:.2f} GB")
    print(f"output    {files.output}", flush=True)
