"""The whole atlas: made from the textbook and a pair of pictures, written to a folder."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npstyle import __version__
from npstyle.atlas import evaluation, running
from npstyle.atlas.chapters import METHODS, Contents, Page, linker, make_page, table_of_contents
from npstyle.atlas.diagram import chain_rule
from npstyle.atlas.folder import check_folder, folder_whole
from npstyle.atlas.heatmaps import Album
from npstyle.atlas.pair import Pair
from npstyle.engine.machine import physical_cores
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.lab.whole import textbook_objective
from npstyle.networks.network import Network, configure
from npstyle.run.settings import Settings
from npstyle.run.transfer import losses_for

if TYPE_CHECKING:
    from jinja2 import Environment

Announce = Callable[[int, int, str], None]
"""Called with the number of steps done, the number of all steps, and what comes next."""

ITERATIONS = 40
"""Steps of the run."""

LOOKED_AT = 8
"""Steps after which the picture is taken that the evaluation looks at."""

STATIC = ("style.css", "atlas.js")


def check_extras() -> None:
    """Raise InputError if a package of the extra `atlas` is missing."""
    try:
        import jinja2  # noqa: F401
        import latex2mathml  # noqa: F401
        import matplotlib  # noqa: F401
        import pygments  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the atlas needs {error.name}, which is not installed; "
            "install it with pip install 'npstyle[atlas]'"
        ) from error


def build(
    folder: Path,
    pair: Pair,
    network: Network,
    announce: Announce = lambda done, of, what: None,
    *,
    iterations: int = ITERATIONS,
) -> None:
    """Write an atlas to a folder.

    Parameters
    ----------
    folder : Path
        A new folder, or an atlas, which is replaced.
    pair : Pair
    network : Network
    announce : callable
    iterations : int
        Steps of the run.

    Raises
    ------
    InputError
        If the extra `atlas` is missing, the folder cannot be written, or a picture is too small.
        An existing atlas is then unchanged.
    """
    check_extras()
    check_folder(folder)
    contents = table_of_contents()
    steps = _Steps(announce, len(contents) + 2 * iterations + 2)
    # Many small products: threads of BLAS would only wait for each other.
    with folder_whole(folder) as made, use_threads(physical_cores()):
        site = _Site(made, contents)
        site.copy_static()
        size = max(pair.photo.shape[:2])
        settings = Settings(size=size, iterations=iterations, init="content")
        steps.next("one run")
        track, plain = _run(pair, network, settings, steps)
        steps.next("one evaluation")
        looked_at = track.pictures.get(LOOKED_AT, track.before)
        configured = configure(network, settings.pooling, padding=settings.padding)
        losses = losses_for(configured, settings)
        formula = textbook_objective(configured, pair.photo, pair.painting, losses)
        looked = evaluation.look(
            configured, formula, pair.photo, pair.painting, looked_at, site.album
        )
        _, gradient = formula(pair.photo)
        step = LOOKED_AT if LOOKED_AT in track.pictures else track.iterations[-1]
        drawn = running.draw(pair.photo, track, plain, gradient, site.album)
        common = {"names": pair.names, "network": network.name}
        site.write_charts((looked.drawn_fields,))
        site.write("evaluation.html", "evaluation.html", look=looked, step=step, **common)
        site.write_charts(drawn.charts)
        site.write("run.html", "run.html", run=drawn, **common)
        for entry in contents:
            steps.next(entry.title)
            site.write_chapter(make_page(entry, linker(contents)))
        site.write_contents()
        steps.next("")


def _run(
    pair: Pair, network: Network, settings: Settings, steps: "_Steps"
) -> tuple[running.Track, running.Track]:
    """Return the run, and the run without the preconditioner."""
    start = steps.done

    def report(step: int) -> None:
        steps.at(start + step, "one run")

    track = running.track(network, pair.photo, pair.painting, settings, report)
    start += settings.iterations
    plain = running.track(
        network, pair.photo, pair.painting, running.without_preconditioner(settings), report
    )
    steps.at(start + settings.iterations, "one run")
    return track, plain


@dataclass
class _Steps:
    """Counts the steps of a build and announces them."""

    announce: Announce
    of: int
    done: int = -1

    def next(self, what: str) -> None:
        """Announce that one more step is done, and what comes next."""
        self.at(self.done + 1, what)

    def at(self, done: int, what: str) -> None:
        """Announce that so many steps are done."""
        self.done = done
        self.announce(done, self.of, what)


class _Site:
    """Writes the pages."""

    def __init__(self, folder: Path, contents: tuple[Contents, ...]) -> None:
        self.folder, self.contents = folder, contents
        (folder / "figures").mkdir()
        self.album = Album(folder / "figures")
        self.templates = _templates()

    def copy_static(self) -> None:
        """Copy style sheet and script."""
        for name in STATIC:
            with resources.as_file(resources.files(__package__) / "templates" / name) as path:
                shutil.copyfile(path, self.folder / name)

    def write(self, file: str, template: str, **values: Any) -> None:
        """Write one page."""
        text = self.templates.get_template(template).render(
            file=file, contents=self.contents, version=__version__, **values
        )
        (self.folder / file).write_text(text, encoding="utf-8")

    def write_charts(self, charts: tuple[tuple[str, str, str], ...]) -> None:
        """Write the charts as files too."""
        for name, svg, _ in charts:
            self.album.drawing(name, svg)

    def write_chapter(self, page: Page) -> None:
        """Write the page of a chapter."""
        self.write_charts(page.charts)
        at = self.contents.index(page.contents)
        self.write(
            page.contents.file,
            "chapter.html",
            page=page,
            methods=METHODS,
            before=self.contents[at - 1] if at else None,
            after=self.contents[at + 1] if at + 1 < len(self.contents) else None,
        )

    def write_contents(self) -> None:
        """Write the page of contents."""
        files = {entry.file.removesuffix(".html"): entry.file for entry in self.contents}
        diagram = chain_rule(files.__getitem__)
        self.album.drawing("chain-rule", diagram)
        self.write("index.html", "index.html", diagram=diagram)


def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("npstyle.atlas", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
