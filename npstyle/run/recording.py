"""The files that a run writes: its picture, frames, an animation, a log, a plot."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from npstyle.errors import InputError
from npstyle.files import check_destination, check_folder, written_whole
from npstyle.images.resize import resize
from npstyle.images.write import save_image
from npstyle.run.table import PICTURE, RECORDS, setting
from npstyle.search.optimize import Progress

FRAMES = 50
"""Approximate number of frames of a run, where `frames_every` is not given."""

GIF_SIDE = 480
"""Longest side of an animation, in pixels."""

GIF_MILLISECONDS = 80
"""Time that an animation shows each frame; the last one stays 20 times as long."""

LIVE_PORTS = 1024, 65535
"""First and last port for the live page; those below are the system's."""


@dataclass(frozen=True)
class Outputs:
    """The files that a run writes, and what it prints and shows.

    The fields are documented where they are declared; `npstyle transfer --help` prints the same
    texts.

    Raises
    ------
    InputError
        If a value cannot be used; names the option.
    """

    output: Path | None = setting(
        None,
        "File to write: .png, .jpg, .webp or .tif (16 bit).",
        PICTURE,
        short="-o",
        shown="a .png in this folder, named after the pictures, with a number if it exists",
    )
    save_every: int = setting(
        0,
        "Write the best picture so far (and the checkpoint) every K steps. 0: write the picture at "
        "the end only, the checkpoint every 10 steps.",
        RECORDS,
        metavar="K",
    )
    checkpoint: Path | None = setting(
        None, "Save what is needed to resume the run later.", RECORDS, metavar="FILE.npz"
    )
    resume: Path | None = setting(
        None,
        "Resume the run that wrote this checkpoint. With more --iterations, a finished run goes "
        "on, too, at its last scale. A checkpoint holds the picture, not the history of L-BFGS: "
        "the losses come close to those of a longer run, but are not the same.",
        RECORDS,
        metavar="FILE.npz",
    )
    frames: Path | None = setting(
        None, "Save numbered pictures in this folder.", RECORDS, metavar="FOLDER"
    )
    gif: Path | None = setting(None, "Save an animation.", RECORDS, metavar="FILE.gif")
    frames_every: int | None = setting(
        None, "Steps between two frames.", RECORDS, metavar="K", shown="about 50 frames in all"
    )
    log: Path | None = setting(
        None, "Write the loss terms, one line per step.", RECORDS, metavar="FILE.jsonl"
    )
    plot: Path | None = setting(
        None,
        "Draw the loss terms (.png, .pdf or .svg). Needs npstyle[plots].",
        RECORDS,
        metavar="FILE.png",
    )
    live: bool = setting(
        False,
        "Follow the run on a page in the browser, and pause or stop it there. Needs npstyle[live].",
        RECORDS,
    )
    live_port: int | None = setting(
        None, "Port of the page.", RECORDS, metavar="PORT", shown="a free one"
    )
    no_open: bool = setting(False, "Print the page's address without opening a browser.", RECORDS)
    quiet: bool = setting(False, "Print errors only.", RECORDS, short="-q")

    def __post_init__(self) -> None:
        """Raise InputError for values that no run could use."""
        if self.save_every < 0:
            raise InputError(f"--save-every {self.save_every}: give a number of 0 or more")
        self._check_live()
        if self.frames_every is not None:
            if self.frames_every < 1:
                raise InputError(f"--frames-every {self.frames_every}: give a number of 1 or more")
            if self.frames is None and self.gif is None:
                raise InputError("--frames-every: needs --frames or --gif; add one of them")

    def _check_live(self) -> None:
        """Raise InputError for options of the live page that no page could use."""
        port = self.live_port
        if port is not None and not LIVE_PORTS[0] <= port <= LIVE_PORTS[1]:
            raise InputError(
                f"--live-port {port}: give a port from {LIVE_PORTS[0]} to {LIVE_PORTS[1]}"
            )
        if not self.live and (port is not None or self.no_open):
            raise InputError(
                f"{'--no-open' if self.no_open else '--live-port'}: needs --live; add it"
            )
        if self.quiet and self.no_open:
            raise InputError(
                "--no-open: with --quiet, the page's address would be neither printed nor opened; "
                "leave one of them out"
            )


@dataclass
class Recording:
    """Records a run while it goes on; call `close` at its end.

    Attributes
    ----------
    outputs : Outputs
        `frames`, `gif`, `log`, `plot` and `frames_every` are used.
    steps : int
        Steps of the whole run.
    problems : dict of str
        By kind of file, why it could not be written.
    history : list of (evaluations, loss, terms by name)
        Collected for the plot.
    """

    outputs: Outputs
    steps: int
    problems: dict[str, str] = field(default_factory=dict)
    history: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)
    _images: list[Image.Image] = field(default_factory=list)
    _file: IO[str] | None = None

    def check(self) -> None:
        """Check every destination before the work starts, without writing anything.

        Raises
        ------
        InputError
            If a file cannot be written, or a plot is wanted and Matplotlib is not installed.
        """
        gif, plot, log, frames = (
            getattr(self.outputs, name) for name in ("gif", "plot", "log", "frames")
        )
        if gif is not None:
            check_destination(gif, (".gif",))
        if plot is not None:
            from npstyle.run.plots import check_plot

            check_plot(plot)
        if log is not None:
            check_destination(log, (".jsonl",))
        if frames is not None:
            check_folder(frames, "the frames")
            self._check_frames(frames)

    def _check_frames(self, folder: Path) -> None:
        """Raise InputError if pictures in the folder have the names of frames.

        A run that is resumed writes the missing frames between those of its first part.
        """
        found = sorted(folder.glob("[0-9]" * 6 + ".png"))
        if found and self.outputs.resume is None:
            raise InputError(
                f"--frames {folder}: {found[0].name} is there already, and could be replaced; name "
                "a new folder"
            )

    @contextmanager
    def noted(self, kind: str) -> Iterator[None]:
        """Go on after a file that cannot be written; `problems` says which, until it can."""
        try:
            yield
            self.problems.pop(kind, None)
        except InputError as error:
            self.problems.setdefault(kind, str(error))

    def update(self, progress: Progress) -> None:
        """Record one iteration."""
        outputs = self.outputs
        if outputs.plot is not None:
            self.history.append((progress.evaluations, progress.loss, progress.parts))
        if outputs.log is not None and "--log" not in self.problems:
            self._log(outputs.log, progress)
        every = outputs.frames_every or max(1, self.steps // FRAMES)
        if progress.iteration % every and progress.iteration != 1:
            return
        if outputs.frames is not None:
            with self.noted("--frames"):
                _save_frame(outputs.frames, progress)
        if outputs.gif is not None:
            side = min(GIF_SIDE, max(progress.image.shape[:2]))
            pixels = np.round(resize(progress.image, side)).astype(np.uint8)
            self._images.append(Image.fromarray(pixels))

    def _log(self, path: Path, progress: Progress) -> None:
        """Write a line of the log. After one that cannot be written, the log ends."""
        try:
            self._file = self._file or path.open("w", encoding="utf-8")
            self._file.write(json.dumps(_line(progress)) + "\n")
            self._file.flush()
        except OSError as error:
            self.problems["--log"] = (
                f"{path}: cannot be written ({error.strerror or error}); "
                f"the log ends before step {progress.iteration}"
            )

    def close(self) -> None:
        """Finish the log, and write the animation and the plot."""
        if self._file is not None:
            with suppress(OSError):  # every line was flushed, or its failure is a problem already
                self._file.close()
        if self.outputs.gif is not None and self._images:
            with self.noted("--gif"):
                _save_gif(self.outputs.gif, self._images)
        if self.outputs.plot is not None and self.history:
            from npstyle.run.plots import plot_losses

            with self.noted("--plot"):
                plot_losses(self.outputs.plot, self.history)


def _save_frame(folder: Path, progress: Progress) -> None:
    """Write one picture of the folder of frames."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be created ({error.strerror})") from error
    save_image(folder / f"{progress.iteration:06d}.png", progress.image)


def _save_gif(path: Path, images: list[Image.Image]) -> None:
    """Write the animation. The scales differ in size; every frame gets the size of the last."""
    frames = [image.resize(images[-1].size) for image in images]
    with written_whole(path) as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[GIF_MILLISECONDS] * (len(frames) - 1) + [20 * GIF_MILLISECONDS],
            loop=0,
        )


def _line(progress: Progress) -> dict[str, Any]:
    return {
        "iteration": progress.iteration,
        "evaluations": progress.evaluations,
        "loss": progress.loss,
        **progress.parts,
    }
