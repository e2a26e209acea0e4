"""Pictures in, picture out: the whole of style transfer in one call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npstyle.engine.device import on_device
from npstyle.engine.disk import in_memory, on_disk
from npstyle.engine.losses import Losses
from npstyle.engine.machine import release_memory
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.color import put_back_chroma
from npstyle.images.resize import resize
from npstyle.networks.network import Network
from npstyle.run.pictures import Picture, Pictures, check_pictures, load_scale
from npstyle.run.plan import Plan, check_memory, make_plan, out_of_memory, prepared
from npstyle.run.settings import NORMALIZED_STYLE_FACTOR, Settings
from npstyle.run.start import starting_picture
from npstyle.run.strategy import MemoryLimits, TileChoice, choose_device, parse_memory
from npstyle.search.optimize import History, Objective, Progress, Result, optimize
from npstyle.tiles.objective import TiledObjective
from npstyle.version import __version__

if TYPE_CHECKING:
    from npstyle.tiles.cluster.cluster import Cluster

Array = NDArray[Any]


@dataclass(frozen=True)
class State:
    """Where a run stands: all that it needs to go on.

    Attributes
    ----------
    scale : int
        Index of the scale it is at.
    iteration : int
        Steps taken at this scale.
    current : array (height, width, 3), 0..255
        The current image, on the device of the search.
    to_host : callable
        Copies it to the host.
    """

    scale: int
    iteration: int
    current: Array
    to_host: Callable[[Array], Array] = np.asarray

    @property
    def image(self) -> Array:
        """The current image on the host."""
        return self.to_host(self.current)


@dataclass(frozen=True)
class Transfer:
    """A finished run.

    Attributes
    ----------
    result : Result
        The picture (`result.image`, float64 (height, width, 3), 0..255), its loss and terms, and
        how the search ended.
    record : dict
        Every setting, the network's name and hash, the version and the figures of the run, ready
        for `npstyle.images.write.save_image`.
    """

    result: Result
    record: dict[str, Any]


def transfer(
    photo: Picture,
    painting: Picture | Sequence[Picture],
    network: Network | str | Path | None = None,
    settings: Settings | None = None,
    *,
    content_masks: Sequence[Picture] = (),
    style_masks: Sequence[Picture] = (),
    threads: int | None = None,
    device: str = "auto",
    tile: TileChoice = "auto",
    memory: int | str | None = None,
    scratch: Path | None = None,
    cluster: str | None = None,
    state: State | None = None,
    announce: Callable[[Plan], None] | None = None,
    callback: Callable[[Progress], None] | None = None,
    keep: Callable[[State], None] | None = None,
) -> Transfer:
    """Render a photo in the style of a painting, or of several.

    Parameters
    ----------
    photo : path, or array (height, width, 3), RGB, 0..255
    painting : the same, or a sequence of such
    content_masks, style_masks : sequences of the same, optional
        See `Pictures`. All are scaled as `settings` says.
    network : Network, path or name, optional
        See `npstyle.networks.network.load_network`. Its pooling and precision are set by
        `settings`.
    settings : Settings, optional
        The preset `gatys` if not given; see `npstyle.run.settings`.
    threads : int, optional
        Worker threads; one per physical core if not given.
    device : "auto", "cpu", "cuda" or "cuda:N"
        Where to compute; see `npstyle.engine.device.find_device`. What the search moves stays
        there.
    tile : "auto", "off" or int
        Longest side of a tile in pixels; "auto": tiles where the whole picture does not fit.
    memory : int or str, optional
        Peak memory that the process may reach, in bytes or such as "4GB"; see
        `npstyle.run.strategy`.
    scratch : Path, optional
        A folder for arrays that are as large as the picture.
    cluster : str, optional
        Address of a Dask cluster that runs the tiles; see `npstyle.tiles.cluster.cluster.connect`.
    state : State, optional
        Where to go on, from an earlier run's `keep` with the same pictures and settings. The
        optimiser's own memory is not in it: it starts anew.
    announce : callable, optional
        Called with the `Plan` before the work starts.
    callback : callable, optional
        Called with a `Progress` after each iteration; it counts them over all scales.
    keep : callable, optional
        Called with the `State` after each iteration, before `callback`.

    Returns
    -------
    Transfer
        Also after Ctrl-C: `result.stopped` says how the run ended. If that was before the last
        scale, the picture has the size of the scale that was reached.

    Raises
    ------
    InputError
        If a picture, the network, a setting or the device cannot be used, or memory would not
        suffice.
    """
    paintings = (painting,) if isinstance(painting, str | Path | np.ndarray) else tuple(painting)
    return transfer_pictures(
        Pictures(photo, paintings, tuple(content_masks), tuple(style_masks)),
        network,
        settings or Settings(),
        threads=threads,
        device=device,
        limits=MemoryLimits(
            tile, parse_memory(memory) if isinstance(memory, str) else memory, scratch, cluster
        ),
        state=state,
        announce=announce,
        callback=callback,
        keep=keep,
    )


def transfer_pictures(
    pictures: Pictures,
    network: Network | str | Path | None,
    settings: Settings,
    *,
    threads: int | None = None,
    device: str = "auto",
    tile: TileChoice = "auto",
    memory: int | str | None = None,
    scratch: Path | None = None,
    limits: MemoryLimits | None = None,
    state: State | None = None,
    announce: Callable[[Plan], None] | None = None,
    callback: Callable[[Progress], None] | None = None,
    keep: Callable[[State], None] | None = None,
) -> Transfer:
    """As `transfer`, with everything that it looks at in one."""
    release_memory()
    sizes = check_pictures(pictures, settings)
    limits = limits or MemoryLimits()
    found = choose_device(device, limits)
    plan: Plan | None = None
    try:
        with on_device(found):
            ready = prepared(network, settings, found)
            plan = make_plan(ready, settings, *sizes, threads, found, limits)
            if announce is not None:
                announce(plan)
            check_memory(plan)
            with _connected(limits.cluster) as cluster, use_threads(plan.threads):
                result = _run_scales(plan, pictures, cluster, state, callback, keep)
    except MemoryError as error:
        raise InputError(out_of_memory(plan, found)) from error
    return Transfer(result, _record(pictures, plan, result))


@contextmanager
def _connected(address: str | None) -> Iterator["Cluster | None"]:
    """The cluster at an address; None without one."""
    if address is None:
        yield None
        return
    from npstyle.tiles.cluster.cluster import connect

    with connect(address) as cluster:
        yield cluster


def _run_scales(
    plan: Plan,
    pictures: Pictures,
    cluster: "Cluster | None",
    state: State | None,
    callback: Callable[[Progress], None] | None,
    keep: Callable[[State], None] | None,
) -> Result:
    """One search after the other, each from the enlarged result of the one before."""
    steps = plan.settings.scale_steps()
    now = state or State(0, 0, np.empty(0))  # an empty picture: there is none yet
    if now.iteration >= steps[now.scale] and now.scale + 1 < len(steps):
        now = State(now.scale + 1, 0, now.current, now.to_host)
    counted = sum(steps[: now.scale]) + now.iteration, 0
    result: Result | None = None
    try:
        while now.scale < len(steps):
            result, image = _search(plan, pictures, cluster, now, counted, callback, keep)
            if result.stopped in ("interrupted", "not finite"):
                break
            counted = result.iterations, result.evaluations
            now = State(now.scale + 1, 0, image)
    except KeyboardInterrupt:  # between two searches
        if result is None:
            raise
        result = replace(result, stopped="interrupted")
    assert result is not None
    return result


def _search(
    plan: Plan,
    pictures: Pictures,
    cluster: "Cluster | None",
    start: State,
    counted: tuple[int, int],
    callback: Callable[[Progress], None] | None,
    keep: Callable[[State], None] | None,
) -> tuple[Result, Array]:
    """Search at one scale; `counted` are the iterations and evaluations of the run before it.

    Returns the result as it is shown, counted over the whole run, and the picture that was moved.
    """
    settings = plan.settings
    photo, color_photo, regions = load_scale(pictures, settings, start.scale)
    finished: Callable[[Array], Array] = np.asarray
    if settings.color == "luminance":
        finished = partial(put_back_chroma, photo=color_photo)

    def report(progress: Progress) -> None:
        if keep is not None:
            taken = start.iteration + progress.iteration
            keep(State(start.scale, taken, progress.current, plan.bound.engine.to_host))
        if callback is not None:
            whole = replace(
                progress,
                iteration=counted[0] + progress.iteration,
                evaluations=counted[1] + progress.evaluations,
                finished=finished,
            )
            callback(whole)

    if start.current.size:
        image = resize(start.image, photo.shape[:2])
    else:
        image = starting_picture(settings, photo, regions[0].sources[0].pixels if regions else None)
    strategy = plan.strategies[start.scale]
    allocate = in_memory if plan.limits.scratch is None else on_disk(plan.limits.scratch)
    objective: Objective
    if strategy.tile is None:
        objective = StyleObjective(plan.bound, photo, regions, _losses(plan))
    else:
        objective = TiledObjective(
            plan.bound, photo, regions, _losses(plan), strategy.tile, allocate, cluster
        )
    image = plan.bound.engine.place(image, np.float64)
    del photo, color_photo, regions  # the objective has taken what it needs
    found = optimize(
        objective,
        image,
        iterations=settings.scale_steps()[start.scale] - start.iteration,
        optimizer=settings.optimizer,
        adam_step=settings.adam_step,
        history=None if strategy.history is None else History(strategy.history, allocate),
        callback=report,
    )
    shown = replace(
        found,
        image=finished(found.image),
        iterations=counted[0] + found.iterations,
        evaluations=counted[1] + found.evaluations,
    )
    return shown, found.image


def _losses(plan: Plan) -> Losses:
    """The losses, with the style weight adapted to a network of mean activation 1."""
    losses = plan.settings.losses()
    if plan.network.normalized and losses.scaling == "means":
        return replace(losses, style_weight=losses.style_weight * NORMALIZED_STYLE_FACTOR)
    return losses


def _record(pictures: Pictures, plan: Plan, result: Result) -> dict[str, Any]:
    def name(picture: Picture) -> str:
        return str(picture) if isinstance(picture, str | Path) else "array"

    names = list(map(name, pictures.paintings))
    record: dict[str, Any] = {
        "npstyle": __version__,
        "photo": name(pictures.photo),
        "painting": names[0] if len(names) == 1 else names,
    }
    for kind in ("content_masks", "style_masks"):
        if getattr(pictures, kind):
            record[kind] = list(map(name, getattr(pictures, kind)))
    return {
        **record,
        "network": plan.network.name,
        "network_sha256": plan.network.sha256,
        **asdict(plan.settings),
        "threads": plan.threads,
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
