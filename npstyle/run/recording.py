"""What a run leaves behind besides its picture: frames, an animation, a log, a plot."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from npstyle.errors import InputError
from npstyle.files import check_destination, written_whole
from npstyle.images.resize import resize
from npstyle.images.write import save_image
from npstyle.search.optimize import Progress

FRAMES = 50
"""About so many frames are taken of a run if no step is given."""

GIF_SIDE = 480
"""Longest side of an animation, in pixels."""

GIF_MILLISECONDS = 80


@dataclass
class Recording:
    """Takes down a run as it goes; `close` must be called at its end.

    Attributes
    ----------
    every : int
        Steps between two frames.
    frames : Path, optional
        Folder for numbered pictures.
    gif, log, plot : Path, optional
        Files to write: an animation, one JSON object per iteration, the loss terms as a picture.
    """

    every: int
    frames: Path | None = None
    gif: Path | None = None
    log: Path | None = None
    plot: Path | None = None
    history: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)
    _images: list[Image.Image] = field(default_factory=list)
    _file: IO[str] | None = None

    def check(self) -> None:
        """Check every destination before the work starts; nothing is written yet.

        Raises
        ------
        InputError
            If one cannot be written, or a plot is wanted and Matplotlib is not installed.
        """
        if self.gif is not None:
            check_destination(self.gif, (".gif",))
        if self.plot is not None:
            from npstyle.run.plots import check_plot

            check_plot(self.plot)
        if self.log is not None:
            check_destination(self.log, (".jsonl",))
        if self.frames is not None and not (self.frames.is_dir() or self.frames.parent.is_dir()):
            raise InputError(f"{self.frames}: there is no folder {self.frames.parent}; make it")
        if self.frames is not None and self.frames.is_file():
            raise InputError(f"{self.frames}: is a file; name a folder for the frames")

    def update(self, progress: Progress) -> None:
        """Take down one iteration."""
        if self.plot is not None:
            self.history.append((progress.evaluations, progress.loss, progress.parts))
        if self.log is not None:
            self._file = self._file or self.log.open("w", encoding="utf-8")
            self._file.write(json.dumps(_line(progress)) + "\n")
            self._file.flush()
        if progress.iteration % self.every and progress.iteration != 1:
            return
        if self.frames is not None:
            self.frames.mkdir(exist_ok=True)
            save_image(self.frames / f"{progress.iteration:06d}.png", progress.image)
        if self.gif is not None:
            side = min(GIF_SIDE, max(progress.image.shape[:2]))
            pixels = np.round(resize(progress.image, side)).astype(np.uint8)
            self._images.append(Image.fromarray(pixels))

    def close(self) -> None:
        """Write what is written at the end."""
        if self._file is not None:
            self._file.close()
        if self.gif is not None and self._images:
            # Scales differ in size; all frames get the last one's.
            frames = [image.resize(self._images[-1].size) for image in self._images]
            with written_whole(self.gif) as file:
                frames[0].save(
                    file,
                    format="GIF",
                    save_all=True,
                    append_images=frames[1:],
                    duration=[GIF_MILLISECONDS] * (len(frames) - 1) + [20 * GIF_MILLISECONDS],
                    loop=0,
                )
        if self.plot is not None and self.history:
            from npstyle.run.plots import plot_losses

            plot_losses(self.plot, self.history)


def _line(progress: Progress) -> dict[str, Any]:
    return {
        "iteration": progress.iteration,
        "evaluations": progress.evaluations,
        "loss": progress.loss,
        **progress.parts,
    }
