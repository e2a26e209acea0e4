"""How far a run has come: its speed, the time that is left, and a bar that shows them."""

import sys
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from npstyle.engine.losses import term
from npstyle.search.optimize import Progress

if TYPE_CHECKING:
    from npstyle.run.plan import Plan

PLAIN_LINES = 20
"""Approximate number of progress lines in a run whose output is not a terminal."""

NOTEBOOK_SECONDS = 0.2
"""Shortest time between two pictures of the bar in a notebook, in seconds."""


class Pace:
    """The speed of a run, and the time that is left.

    Parameters
    ----------
    steps : int
        Steps of the whole run.
    """

    def __init__(self, steps: int) -> None:
        self.started = 0.0
        self.work = [float(k) for k in range(steps + 1)]
        self.work_before: float | None = None

    def weigh(self, steps: Sequence[int], work: Sequence[float]) -> None:
        """Set the number of steps at each scale and the cost of one step there, in any unit."""
        each = [cost for count, cost in zip(steps, work, strict=True) for _ in range(count)]
        self.work = list(accumulate(each, initial=0.0))

    def start(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def rest(self, seconds: float) -> None:
        """Leave a pause of this length out of the measured time."""
        self.started += seconds

    def measure(self, iteration: int, evaluations: int) -> tuple[float, float]:
        """Return the speed in evaluations per second, and the seconds that are left."""
        seconds = time.monotonic() - self.started
        if self.work_before is None:  # the work of a resumed run that was done earlier
            self.work_before = self.work[iteration - 1]
        done = self.work[iteration] - self.work_before
        left = seconds / done * (self.work[-1] - self.work[iteration])
        return evaluations / max(seconds, 1e-9), left


class ProgressDisplay:
    """A bar on a terminal and in a notebook, occasional lines elsewhere, nothing if `quiet`."""

    def __init__(self, iterations: int, quiet: bool = False) -> None:
        self.iterations = iterations
        self.quiet = quiet
        self.pace = Pace(iterations)
        self.bar: Bar | None = None
        self.notebook: _NotebookBar | None = None
        if quiet:
            return
        in_notebook = get_console().is_jupyter
        if in_notebook or sys.stdout.isatty():
            self.bar = Bar(
                BarColumn(bar_width=None),  # takes what the other columns leave
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                expand=True,
            )
        if in_notebook and self.bar is not None:
            self.notebook = _NotebookBar(self.bar)

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.notebook is not None:
            self.notebook.draw(at_once=True)
        elif self.bar is not None:
            self.bar.stop()

    def begin(self, plan: "Plan", steps: Sequence[int]) -> None:
        """Start with the steps of a run at each scale; the plan says how long they take."""
        pixels = [height * width for height, width in plan.photo_sizes]
        work = [n * strategy.cost for n, strategy in zip(pixels, plan.strategies, strict=True)]
        self.pace.weigh(steps, work)
        self.start()

    def start(self) -> None:
        """Show the empty bar and start the clock."""
        self.pace.start()
        if self.bar is None:
            return
        self.bar.add_task("reading the pictures", total=self.iterations)
        if self.notebook is not None:
            self.notebook.draw(at_once=True)
        else:
            self.bar.start()

    def update(self, iteration: Progress) -> None:
        """Show one finished iteration."""
        if self.quiet:
            return
        rate, left = self.pace.measure(iteration.iteration, iteration.evaluations)
        text = f"{terms(iteration.loss, iteration.parts)}  {rate:.2f}/s  {duration(left)} left"
        if self.bar is not None:
            self._describe(text, completed=iteration.iteration)
            return
        every = max(1, self.iterations // PLAIN_LINES)
        if iteration.iteration % every == 0 or iteration.iteration in (1, self.iterations):
            print(f"{iteration.iteration}/{self.iterations}  {text}", flush=True)

    def say(self, text: str) -> None:
        """Show a sentence in the place of the speed."""
        if self.bar is not None:
            self._describe(text)
        elif not self.quiet:
            print(text, flush=True)

    def _describe(self, text: str, **changes: Any) -> None:
        assert self.bar is not None
        self.bar.update(self.bar.task_ids[0], description=text, **changes)
        if self.notebook is not None:
            self.notebook.draw()


class _NotebookBar:
    """Draws a bar as the output of a notebook's cell, and replaces it there.

    rich's own live display in a notebook needs ipywidgets, which most notebooks do not have.
    """

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.drawn = 0.0
        self.place: Any = None

    def draw(self, at_once: bool = False) -> None:
        """Draw the bar as it is, unless the last drawing is newer than `NOTEBOOK_SECONDS`."""
        from IPython.display import display

        now = time.monotonic()
        if not at_once and now - self.drawn < NOTEBOOK_SECONDS:
            return
        self.drawn = now
        if self.place is None:
            self.place = display(self.bar, display_id=True)
        else:
            self.place.update(self.bar)


def terms(loss: float, parts: Mapping[str, float]) -> str:
    """Format the loss and the sum of each kind of term."""
    kinds = dict.fromkeys(name.split()[0] for name in parts)
    return " ".join([f"loss {loss:.2e}", *(f"{kind} {term(parts, kind):.2e}" for kind in kinds)])


def duration(seconds: float) -> str:
    """Format a time as minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
