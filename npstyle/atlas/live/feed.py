"""What a run tells its page, and what the page asks of the run.

The run and the server's thread share one `Feed`. The run never waits for the server: it appends a
few numbers to a list, and leaves a reference to its picture if the server has asked for one. It
stands still only while the page asks for a pause.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.maths.array import Array
from npstyle.search.optimize import Progress

PAUSE_SECONDS = 0.1
"""Longest time for which a paused run does not look for Ctrl-C, in seconds."""

PAUSED = "paused on the page; Ctrl-C ends the run"
"""What the terminal shows during a pause."""

State = Literal["reading", "running", "paused", "ended"]
"""The state of a run: "reading" is everything before the first step."""


class Feed:
    """The state of a run, for its page; every method may be called from any thread.

    Attributes
    ----------
    facts : dict
        Names and values of the run's settings, as text.
    steps : int
        Steps of the whole run.
    points : list of (iteration, evaluations, loss, terms by name)
        One for each step; it only grows.
    """

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.steps = 0
        self.points: list[tuple[int, int, float, dict[str, float]]] = []
        self._changed = threading.Condition()
        self._pace = 0.0, 0.0
        self._picture: Callable[[], Array] | None = None
        self._left = 0
        self._is_wanted = False
        self._is_paused = False
        self._is_stopping = False
        self._ending: str | None = None

    # The run's side.

    def describe(self, facts: Mapping[str, str], steps: int) -> None:
        """Tell the page what the run will do."""
        self.facts, self.steps = dict(facts), steps

    def publish(self, progress: Progress, rate: float, left: float) -> None:
        """Tell the page about a finished step.

        Parameters
        ----------
        progress : Progress
            Its picture is copied from a GPU only if the page wants one. On a CPU nothing is copied:
            the search does not change an image that it has evaluated.
        rate : float
            Evaluations per second.
        left : float
            Seconds.
        """
        parts = progress.parts
        self.points.append((progress.iteration, progress.evaluations, progress.loss, parts))
        self._pace = rate, left
        self._leave_picture(progress)

    def wait(self, progress: Progress, say: Callable[[str], None]) -> float:
        """Wait as long as the page asks for a pause, and return how many seconds that took.

        Parameters
        ----------
        progress : Progress
            Its picture is for a page that is opened during the pause.
        say : callable
            Called with `PAUSED` when a pause begins.

        Raises
        ------
        KeyboardInterrupt
            If the page asks the run to stop, or if Ctrl-C is pressed during the pause.
        """
        start = time.monotonic()
        if self._is_paused:
            say(PAUSED)
        with self._changed:
            while self._is_paused and not self._is_stopping:
                raise_if_interrupted()
                self._leave_picture(progress)
                self._changed.wait(PAUSE_SECONDS)
        if self._is_stopping:
            raise KeyboardInterrupt
        return time.monotonic() - start

    def _leave_picture(self, progress: Progress) -> None:
        """Leave a picture if the page has asked for one that it does not have yet."""
        if self._is_wanted and progress.iteration != self._left:
            image, finished = progress.to_host(progress.current), progress.finished
            with self._changed:
                self._picture, self._is_wanted = lambda: finished(image), False
            self._left = progress.iteration

    def end(self, sentence: str, image: Array | None = None) -> None:
        """Tell the page how the run ended, with the final picture; later calls do nothing."""
        with self._changed:
            if self._ending is None:
                if image is not None:
                    self._picture = lambda: np.asarray(image)
                self._ending = sentence

    # The page's side.

    def ask_for_picture(self) -> None:
        """Ask the run to leave the picture of its next step."""
        self._is_wanted = True

    def take_picture(self) -> Callable[[], Array] | None:
        """Take the newest picture, as a function that computes its pixels; None without one."""
        with self._changed:
            picture, self._picture = self._picture, None
        return picture

    def pause(self) -> None:
        """Ask the run to wait after the step that it is computing."""
        self._is_paused = True

    def resume(self) -> None:
        """Let the run go on."""
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Ask the run to end after the step that it is computing and to keep its best picture."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    @property
    def state(self) -> State:
        """The state of the run."""
        if self._ending is not None:
            return "ended"
        if self._is_paused:
            return "paused"
        return "running" if self.points else "reading"

    def status(self) -> dict[str, Any]:
        """Return the state, the speed and the time left, ready for JSON."""
        rate, left = self._pace
        return {
            "state": self.state,
            "stopping": self._is_stopping,
            "ending": self._ending,
            "steps": self.steps,
            "rate": rate,
            "left": left,
        }
