"""One run of the search: pictures, losses, steps, and what the preconditioner does to a step."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from npstyle.atlas.charts import Axis, Series, line_chart, radial_mean
from npstyle.atlas.heatmaps import Album, Figure
from npstyle.engine.cpu.precondition import precondition, precondition_backward
from npstyle.maths.array import Array
from npstyle.networks.network import Network
from npstyle.run.machine import Machine
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from npstyle.search.coordinates import search_spectrum
from npstyle.search.optimize import Progress

Report = Callable[[int], None]
"""Called with the number of steps done."""


@dataclass
class Track:
    """What is kept of a run while it goes on.

    Attributes
    ----------
    shown : tuple of int
        The steps whose pictures are kept.
    pictures : dict of arrays
        By step.
    iterations : list of int
    losses : list of float
    parts : dict of lists of float
        By the name of the term.
    lengths : list of float
        Root mean square change of the pixels in each step, on the scale 0..255.
    """

    shown: tuple[int, ...]
    before: Array
    report: Report
    pictures: dict[int, Array] = field(default_factory=dict)
    iterations: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    lengths: list[float] = field(default_factory=list)

    def update(self, progress: Progress) -> None:
        """Keep one step."""
        current = progress.to_host(progress.current).copy()
        self.iterations.append(progress.iteration)
        self.losses.append(progress.loss)
        for name, value in progress.parts.items():
            self.parts.setdefault(name, []).append(value)
        self.lengths.append(float(np.sqrt(np.mean((current - self.before) ** 2))))
        if progress.iteration in self.shown:
            self.pictures[progress.iteration] = current
        self.before = current
        self.report(progress.iteration)


@dataclass(frozen=True)
class Run:
    """All that the page of one run shows.

    Attributes
    ----------
    iterations : int
    pictures : tuple of Figure
        From the first step to the last.
    charts : tuple of (name, svg, caption)
    steps : tuple of Figure
        The first step in pixels, and preconditioned.
    """

    iterations: int
    pictures: tuple[Figure, ...]
    charts: tuple[tuple[str, str, str], ...]
    steps: tuple[Figure, ...]


def steps_to_show(iterations: int) -> tuple[int, ...]:
    """Return the steps whose pictures are shown, ever further apart."""
    return (*(k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < iterations), iterations)


def track(
    network: Network, photo: Array, painting: Array, settings: Settings, report: Report
) -> Track:
    """Run a search from the photo and keep what it does.

    Raises
    ------
    KeyboardInterrupt
        If the run was interrupted; `transfer` itself would return its picture.
    """
    found = Track(steps_to_show(settings.iterations), photo, report)
    machine = Machine(device="cpu")
    done = transfer(photo, painting, network, settings, machine, callback=found.update)
    if done.result.stopped == "interrupted":
        raise KeyboardInterrupt
    found.pictures.setdefault(found.iterations[-1], found.before)
    return found


def without_preconditioner(settings: Settings) -> Settings:
    """Return the settings of a run that moves the pixels themselves."""
    return replace(settings, precondition="off")


def draw(photo: Array, moved: Track, plain: Track, gradient: Array, album: Album) -> Run:
    """Draw a run.

    Parameters
    ----------
    photo : array (height, width, 3)
    moved, plain : Track
        The run, and the same without the preconditioner.
    gradient : array (height, width, 3)
        At the photo.
    album : Album
    """
    pictures = [album.photo("step-0", photo, "the start: the photo", "the photo")]
    for step, pixels in sorted(moved.pictures.items()):
        loss = moved.losses[moved.iterations.index(step)]
        counted = f"after {step} step{'s' * (step != 1)}"
        pictures.append(
            album.photo(
                f"step-{step}", pixels, f"{counted}; loss {loss:.3g}", f"the picture {counted}"
            )
        )
    return Run(
        moved.iterations[-1],
        tuple(pictures),
        (_losses(moved, plain), _lengths(moved, plain), _spectrum(gradient)),
        _first_steps(gradient, album),
    )


def _losses(moved: Track, plain: Track) -> tuple[str, str, str]:
    series = [Series("all", moved.iterations, moved.losses, "c0")]
    series += [
        Series(name, moved.iterations, values, f"c{k % 7 + 1} thin")
        for k, (name, values) in enumerate(moved.parts.items())
    ]
    series.append(Series("all, not preconditioned", plain.iterations, plain.losses, "c0 dashed"))
    chart = line_chart(
        "Loss and its terms by step", Axis("step"), Axis("weighted term", log=True), series
    )
    caption = (
        "The loss and its weighted terms after each step of L-BFGS. The content term rises from 0, "
        "because the run starts from the photo."
    )
    return "run-losses", chart, caption


def _lengths(moved: Track, plain: Track) -> tuple[str, str, str]:
    series = [
        Series("preconditioned", moved.iterations, moved.lengths, "c0 marked"),
        Series("not preconditioned", plain.iterations, plain.lengths, "c1 thin"),
    ]
    chart = line_chart(
        "Length of each step", Axis("step"), Axis("change of a pixel, 0..255", log=True), series
    )
    caption = "Root mean square change of the pixels in each step, in units of a pixel's 0..255."
    return "run-steps", chart, caption


def _first_steps(gradient: Array, album: Album) -> tuple[Figure, ...]:
    """Draw the direction of steepest descent, in pixels and in the search's coordinates."""
    height, width = gradient.shape[:2]
    factors = search_spectrum(height, width)
    smooth = precondition(precondition_backward(gradient, factors), factors)
    figures = []
    for name, step, about in [
        ("plain", -gradient, "against the gradient at the pixels"),
        ("preconditioned", -smooth, "the same step in the search's coordinates"),
    ]:
        grey = step.mean(axis=2)
        limit = float(np.percentile(np.abs(grey), 99.5))
        caption = f"{about}; red: brighter, blue: darker; scaled to its largest values"
        figures.append(album.signed(f"first-step-{name}", grey, limit, caption, about))
    return tuple(figures)


def _spectrum(gradient: Array) -> tuple[str, str, str]:
    height, width = gradient.shape[:2]
    ones = np.ones_like(gradient)
    factors = search_spectrum(height, width)
    coefficients = precondition_backward(gradient, ones)
    series = []
    for name, values, style in [
        ("step in pixels", coefficients, "c1"),
        ("preconditioned step", factors**2 * coefficients, "c0"),
        ("factor s", factors, "c7 dashed"),
    ]:
        f, amplitudes = radial_mean(values)
        scale = 1.0 if name == "factor s" else float(np.sqrt(np.mean(values**2))) or 1.0
        series.append(Series(name, f, [a / scale for a in amplitudes], style))
    chart = line_chart(
        "Spectrum of the first step",
        Axis("cycles per pixel", log=True),
        Axis("amplitude / its mean", log=True),
        series,
    )
    caption = (
        "Amplitude of the first step by frequency, as root mean square over rings of the cosine "
        "transform. The preconditioner multiplies each frequency of each colour by the square of "
        "its factor s: broad patches move further, grain less."
    )
    return "run-spectrum", chart, caption
