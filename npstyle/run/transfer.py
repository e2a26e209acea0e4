"""Pictures in, picture out: the whole of style transfer in one call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

import numpy as np

from npstyle import __version__
from npstyle.engine.device import on_device
from npstyle.engine.disk import Allocate, in_memory, on_disk
from npstyle.engine.guides import Region
from npstyle.engine.losses import Losses
from npstyle.engine.machine import release_memory
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.color import put_back_chroma
from npstyle.images.resize import resize
from npstyle.maths.array import Array
from npstyle.networks.network import Network
from npstyle.run.machine import Machine, allowed_memory
from npstyle.run.notebook import transfer_html, transfer_text
from npstyle.run.pictures import (
    Picture,
    Pictures,
    check_pictures,
    check_readable,
    load_scale,
    loading_bytes,
    picture_name,
    read_record,
)
from npstyle.run.plan import Plan, check_memory, make_plan, out_of_memory, prepared
from npstyle.run.progress import ProgressDisplay
from npstyle.run.settings import NORMALIZED_STYLE_FACTOR, Settings
from npstyle.run.start import painted_picture, search_colors, starting_picture
from npstyle.run.strategy import choose_device
from npstyle.search.optimize import History, Objective, Progress, Result, optimize
from npstyle.tiles.objective import TiledObjective

if TYPE_CHECKING:
    from npstyle.tiles.cluster.cluster import Cluster


@dataclass(frozen=True)
class State:
    """How far a run has come: everything that is needed to resume it.

    Attributes
    ----------
    scale : int
        Index of the current scale.
    iteration : int
        Steps taken at this scale.
    current : array (height, width, 3), 0..255
        The current image, on the device of the search.
    to_host : callable
        Copies it to the host.
    taken : tuple of int
        Steps taken at the scales before; those of the settings if empty.
    """

    scale: int
    iteration: int
    current: Array
    to_host: Callable[[Array], Array] = np.asarray
    taken: tuple[int, ...] = ()

    @property
    def image(self) -> Array:
        """The current image on the host."""
        return self.to_host(self.current)


def run_steps(settings: Settings, state: State | None) -> tuple[int, ...]:
    """Return the steps at each scale of a run; at those before `state`, the steps taken."""
    taken = () if state is None else state.taken
    return (*taken, *settings.scale_steps()[len(taken) :])


@dataclass(frozen=True, repr=False)
class Transfer:
    """A finished run.

    Attributes
    ----------
    result : Result
        The picture (`result.image`, float64 (height, width, 3), 0..255), its loss and terms, and
        how the search ended.
    record : dict
        All settings, the network's name and hash, the version of npstyle and the results of the
        run, in the form that `npstyle.images.write.save_image` takes.
    """

    result: Result
    record: dict[str, Any]

    def __repr__(self) -> str:
        return transfer_text(self)

    def _repr_html_(self) -> str:
        return transfer_html(self)


class Masks(TypedDict, total=False):
    """The masks of `transfer`; see `npstyle.run.pictures.Pictures`."""

    content_masks: Sequence[Picture]
    style_masks: Sequence[Picture]


def transfer(
    photo: Picture,
    painting: Picture | Sequence[Picture],
    network: Network | str | Path | None = None,
    settings: Settings | None = None,
    machine: Machine | None = None,
    *,
    state: State | None = None,
    callback: Callable[[Progress], None] | None = None,
    keep: Callable[[State], None] | None = None,
    progress: bool = False,
    **masks: Unpack[Masks],
) -> Transfer:
    """Render a photo in the style of one or more paintings.

    Parameters
    ----------
    photo : path, or array (height, width, 3), RGB, 0..255
    painting : the same, or a sequence of them
    network : Network, path or name, optional
        See `npstyle.networks.network.load_network`. `settings` determine its pooling and precision.
    settings : Settings, optional
        The default is the preset `gatys`.
    machine : Machine, optional
        Threads, device, tiles and memory limits. By default one thread per physical core, the first
        GPU that works, and 80 % of the free memory.
    state : State, optional
        State to resume from, of an earlier run with the same pictures and settings; `iterations`
        may be more. The optimiser's own state is not part of it and starts afresh.
    callback : callable, optional
        Called with a `Progress` after each iteration; iterations are counted over all scales.
    keep : callable, optional
        Called with the `State` after each iteration, before `callback`.
    progress : bool
        Whether to show the progress: as a bar in a terminal and in a notebook, else as lines.
    content_masks, style_masks : sequences of pictures, optional
        See `npstyle.run.pictures.Pictures`.

    Returns
    -------
    Transfer
        Also after Ctrl-C: `result.stopped` says how the run ended. If it ended before the last
        scale, the picture has the size of the scale that was reached.

    Raises
    ------
    InputError
        If a picture, the network, a setting or the device cannot be used, or if the run needs more
        memory than there is.
    """
    paintings = (painting,) if isinstance(painting, str | Path | np.ndarray) else tuple(painting)
    named = cast(Mapping[str, Sequence[Picture]], masks)
    chosen = settings or Settings()
    steps = run_steps(chosen, state)
    display = ProgressDisplay(sum(steps), quiet=not progress)

    def report(step: Progress) -> None:
        display.update(step)
        if callback is not None:
            callback(step)

    with display:
        return transfer_pictures(
            Pictures(photo, paintings, **{name: tuple(given) for name, given in named.items()}),
            network,
            chosen,
            machine or Machine(),
            state=state,
            announce=lambda plan: display.begin(plan, steps),
            callback=report,
            keep=keep,
        )


def transfer_pictures(
    pictures: Pictures,
    network: Network | str | Path | None,
    settings: Settings,
    machine: Machine,
    *,
    state: State | None = None,
    announce: Callable[[Plan], None] | None = None,
    callback: Callable[[Progress], None] | None = None,
    keep: Callable[[State], None] | None = None,
) -> Transfer:
    """Run `transfer` on pictures in one object; `announce` gets the plan before the work starts."""
    release_memory()
    sizes = check_pictures(pictures, settings)
    check_readable((pictures.photo, *pictures.paintings), allowed_memory(machine.memory))
    own = {"npstyle": __version__, **read_record(pictures, settings)}
    device = choose_device(machine)
    plan: Plan | None = None
    try:
        with on_device(device):
            bound = prepared(network, settings, device)
            reading = loading_bytes(pictures, settings)
            plan = make_plan(bound, settings, *sizes, machine, device, reading)
            if announce is not None:
                announce(plan)
            check_memory(plan)
            with _connected(machine.cluster) as cluster, use_threads(plan.threads):
                result = _Run(plan, pictures, cluster, callback, keep).result(state)
    except MemoryError as error:
        raise InputError(out_of_memory(plan, device)) from error
    return Transfer(result, {**own, **_record(plan, result)})


@contextmanager
def _connected(address: str | None) -> Iterator["Cluster | None"]:
    """Yield the cluster at an address, or None without an address."""
    if address is None:
        yield None
        return
    from npstyle.tiles.cluster.cluster import connect

    with connect(address) as cluster:
        yield cluster


@dataclass(frozen=True)
class _Run:
    """The searches of a run, one at each scale.

    Attributes
    ----------
    plan : Plan
    pictures : Pictures
    cluster : Cluster or None
    callback, keep : callable or None
        As in `transfer`.
    """

    plan: Plan
    pictures: Pictures
    cluster: "Cluster | None"
    callback: Callable[[Progress], None] | None
    keep: Callable[[State], None] | None

    def result(self, state: State | None) -> Result:
        """Search at one scale after another, each from the enlarged result of the one before."""
        steps = run_steps(self.plan.settings, state)
        now = state or State(0, 0, np.empty(0))  # an empty array: there is no image yet
        now = replace(now, taken=steps[: now.scale])
        if now.iteration >= steps[now.scale] and now.scale + 1 < len(steps):
            taken = (*now.taken, now.iteration)
            now = replace(now, scale=now.scale + 1, iteration=0, taken=taken)
        counted = sum(now.taken) + now.iteration, 0
        result: Result | None = None
        try:
            while now.scale < len(steps):
                result, image = self._search(now, counted)
                if result.stopped in ("interrupted", "not finite"):
                    break
                counted = result.iterations, result.evaluations
                taken = (*now.taken, result.iterations - sum(now.taken))
                now = State(now.scale + 1, 0, image, taken=taken)
        except KeyboardInterrupt:  # between two searches
            if result is None:
                raise
            result = replace(result, stopped="interrupted")
        assert result is not None
        return result

    def _search(self, start: State, counted: tuple[int, int]) -> tuple[Result, Array]:
        """Search at one scale.

        Parameters
        ----------
        start : State
        counted : (iterations, evaluations)
            Those of the run before this search.

        Returns
        -------
        result : Result
            The picture as it is shown; iterations and evaluations counted over the whole run.
        image : array (height, width, 3)
            The picture as the search left it.
        """
        plan, settings = self.plan, self.plan.settings
        photo, color_photo, regions = load_scale(self.pictures, settings, start.scale)
        finished: Callable[[Array], Array] = np.asarray
        if settings.color == "luminance":
            finished = partial(put_back_chroma, photo=color_photo)
        if start.current.size:
            image = resize(start.image, photo.shape[:2])
        else:
            image = self._start(photo, regions)
        allocate = self._allocate()
        history = plan.strategies[start.scale].history
        objective = self._objective(start.scale, photo, regions)
        del photo, color_photo, regions  # the objective keeps what it needs
        found = optimize(
            objective,
            plan.bound.engine.place(image, np.float64),
            iterations=settings.scale_steps()[start.scale] - start.iteration,
            optimizer=settings.optimizer,
            precondition=search_colors(settings, start.scale),
            adam_step=settings.adam_step,
            history=None if history is None else History(history, allocate),
            callback=self._report(start, counted, finished),
            engine=plan.bound.engine,
        )
        shown = replace(
            found,
            image=finished(found.image),
            iterations=counted[0] + found.iterations,
            evaluations=counted[1] + found.evaluations,
        )
        return shown, found.image

    def _start(self, photo: Array, regions: list[Region]) -> Array:
        """Return the picture that the search at the first scale starts from."""
        size = self.plan.start.painted
        if size is None:
            painting = regions[0].sources[0].pixels if regions else None
            return starting_picture(self.plan.settings, photo, painting)
        paintings = self.pictures.paintings
        return painted_picture(photo, regions, paintings, self.plan.settings, size)

    def _objective(self, scale: int, photo: Array, regions: list[Region]) -> Objective:
        """Return the objective at one scale, of the whole picture or of tiles."""
        plan = self.plan
        tile = plan.strategies[scale].tile
        losses = losses_for(plan.network, plan.settings)
        if tile is None:
            return StyleObjective(plan.bound, photo, regions, losses)
        cluster, allocate = self.cluster, self._allocate()
        return TiledObjective(plan.bound, photo, regions, losses, tile, allocate, cluster)

    def _allocate(self) -> Allocate:
        scratch = self.plan.machine.scratch
        return in_memory if scratch is None else on_disk(scratch)

    def _report(
        self, start: State, counted: tuple[int, int], finished: Callable[[Array], Array]
    ) -> Callable[[Progress], None]:
        """Return the callback of one search, which calls `keep` and `callback`."""

        def report(progress: Progress) -> None:
            if self.keep is not None:
                taken = start.iteration + progress.iteration
                to_host = self.plan.bound.engine.to_host
                self.keep(State(start.scale, taken, progress.current, to_host, start.taken))
            if self.callback is not None:
                whole = replace(
                    progress,
                    iteration=counted[0] + progress.iteration,
                    evaluations=counted[1] + progress.evaluations,
                    finished=finished,
                )
                self.callback(whole)

        return report


def losses_for(network: Network, settings: Settings) -> Losses:
    """Return the losses, with the style weight adapted to a network of mean activation 1."""
    losses = settings.losses()
    if network.normalized and losses.scaling == "means":
        return replace(losses, style_weight=losses.style_weight * NORMALIZED_STYLE_FACTOR)
    return losses


def _record(plan: Plan, result: Result) -> dict[str, Any]:
    """Return what is recorded of the settings and the result."""
    return {
        "network": plan.network.name,
        "network_sha256": plan.network.sha256,
        **asdict(plan.settings),
        "init": picture_name(plan.settings.init),
        "threads": plan.threads,
        "compiled": plan.is_compiled,
        "device": f"{plan.device} {plan.device.name}" if plan.device.is_gpu else "cpu",
        "tiles": [strategy.tile for strategy in plan.strategies],
        "history": [strategy.history for strategy in plan.strategies],
        "height": result.image.shape[0],
        "width": result.image.shape[1],
        "loss": result.loss,
        "parts": result.parts,
        "iterations_done": result.iterations,
        "evaluations": result.evaluations,
        "stopped": result.stopped,
    }
