"""Pictures in, picture out: the whole of style transfer in one call."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npstyle import backend
from npstyle.errors import InputError
from npstyle.image import fit_size, image_size, load_image, resize
from npstyle.memory import run_bytes
from npstyle.network import Network, accelerate, configure, load_network, shapes
from npstyle.objective import build_objective
from npstyle.optimizers import PIXEL_MAX, Progress, Result, optimize, vectors_held
from npstyle.presets import NORMALIZED_STYLE_FACTOR, Settings
from npstyle.version import __version__

Array = NDArray[Any]
Picture = str | Path | Array

NOISE_DEVIATION = 10.0
"""Of the white noise around middle grey. Stronger noise leaves grain that pooling cannot see."""


@dataclass(frozen=True)
class Plan:
    """What a run is about to do.

    Attributes
    ----------
    network : Network
    settings : Settings
    photo_size, painting_size : (height, width)
        After scaling.
    threads : int
    memory : int
        Memory in bytes that the run will take on top of what the process holds now.
    """

    network: Network
    settings: Settings
    photo_size: tuple[int, int]
    painting_size: tuple[int, int]
    threads: int
    memory: int

    @property
    def peak_memory(self) -> int:
        """Expected peak memory of the whole process, in bytes."""
        return self.memory + backend.held_memory()


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
        for `npstyle.image.save_image`.
    """

    result: Result
    record: dict[str, Any]


def transfer(
    photo: Picture,
    painting: Picture,
    network: Network | str | Path | None = None,
    settings: Settings | None = None,
    *,
    threads: int | None = None,
    announce: Callable[[Plan], None] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Transfer:
    """Render a photo in the style of a painting.

    Parameters
    ----------
    photo, painting : path, or array (height, width, 3), RGB, 0..255
        Both are scaled as `settings` says.
    network : Network, path or name, optional
        See `npstyle.network.load_network`. Its pooling and precision are set by `settings`.
    settings : Settings, optional
        The preset `gatys` if not given; see `npstyle.presets`.
    threads : int, optional
        Worker threads; one per physical core if not given.
    announce : callable, optional
        Called with the `Plan` before the work starts.
    callback : callable, optional
        Called with a `Progress` after each iteration.

    Returns
    -------
    Transfer
        Also after Ctrl-C: `result.stopped` says how the run ended.

    Raises
    ------
    InputError
        If a picture, the network or a setting cannot be used, or memory would not suffice.
    """
    settings = settings or Settings()
    backend.give_memory_back()
    photo_shape, painting_shape = _size(photo), _size(painting)
    if not isinstance(network, Network):
        network = load_network(network)
    network = configure(network, settings.pooling, settings.dtype)
    if not settings.exact:
        network = accelerate(network, [*settings.content_layers, *settings.style_layers])
    plan = make_plan(network, settings, photo_shape, painting_shape, threads)
    if announce is not None:
        announce(plan)
    check_memory(plan)
    photo_pixels = _pixels(photo, plan.photo_size)
    painting_pixels = _pixels(painting, plan.painting_size)
    start = starting_picture(settings, photo_pixels, painting_pixels)
    weighed = settings
    if network.normalized and settings.scaling == "means":
        weighed = replace(settings, style_weight=settings.style_weight * NORMALIZED_STYLE_FACTOR)
    with backend.threads(plan.threads):
        objective = build_objective(network, photo_pixels, painting_pixels, weighed)
        del photo_pixels, painting_pixels
        result = optimize(
            objective,
            start,
            iterations=settings.iterations,
            optimizer=settings.optimizer,
            callback=callback,
        )
    return Transfer(result, _record(photo, painting, plan, result))


def make_plan(
    network: Network,
    settings: Settings,
    photo: tuple[int, int],
    painting: tuple[int, int],
    threads: int | None = None,
) -> Plan:
    """Count sizes and memory of a run; check that the pictures reach every layer.

    Parameters
    ----------
    network : Network
    settings : Settings
    photo, painting : (height, width)
        Sizes before scaling.
    threads : int, optional
        One per physical core if not given.

    Raises
    ------
    InputError
        If a layer is unknown or a picture too small for it.
    """
    threads = backend.thread_count(threads)
    photo_size = fit_size(*photo, settings.size)
    painting_size = fit_size(*painting, max(1, round(settings.size * settings.style_scale)))
    shapes(network, [*settings.content_layers, *settings.style_layers], *photo_size)
    shapes(network, settings.style_layers, *painting_size)
    vectors = vectors_held(settings.optimizer, settings.iterations)
    memory = run_bytes(network, settings, photo_size, painting_size, threads, vectors)
    return Plan(network, settings, photo_size, painting_size, threads, memory)


def check_memory(plan: Plan) -> None:
    """Raise InputError, naming a size that fits, if the plan needs more memory than there is."""
    free = backend.available_memory()
    if plan.memory <= free:
        return
    size, smaller = plan.settings.size, plan
    try:
        while smaller.memory > free:
            size = size * 31 // 32
            settings = replace(plan.settings, size=size)
            smaller = make_plan(
                plan.network, settings, plan.photo_size, plan.painting_size, plan.threads
            )
        mend = f"use --size {size} or less"
    except InputError:  # too small for the network: no size is left
        mend = "free some memory first"
    raise InputError(
        f"--size {plan.settings.size}: the run needs {plan.memory / 1e9:.2f} GB of memory and "
        f"{free / 1e9:.2f} GB are free; {mend}"
    )


def starting_picture(settings: Settings, photo: Array, painting: Array) -> Array:
    """Return the pixels (height, width, 3) that the optimiser starts from, of the photo's size.

    Raises
    ------
    InputError
        If `settings.init` is a file that cannot be read.
    """
    height, width = photo.shape[:2]
    match settings.init:
        case "content":
            return photo
        case "style":
            return resize(painting, (height, width))
        case "noise":
            noise = np.random.default_rng(settings.seed).normal(0, NOISE_DEVIATION, photo.shape)
            return np.clip(PIXEL_MAX / 2 + noise, 0, PIXEL_MAX)
        case path:
            return resize(load_image(path), (height, width))


def _size(picture: Picture) -> tuple[int, int]:
    """Height and width of a picture before scaling; refuses arrays that are none."""
    if isinstance(picture, str | Path):
        return image_size(picture)
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(
            "a picture given as an array must be (height, width, 3), RGB 0..255, "
            f"not {pixels.shape}"
        )
    if not np.all(np.isfinite(pixels)):
        raise InputError("a picture given as an array holds NaN or infinity; give numbers 0..255")
    return pixels.shape[0], pixels.shape[1]


def _pixels(picture: Picture, size: tuple[int, int]) -> Array:
    pixels = load_image(picture) if isinstance(picture, str | Path) else np.asarray(picture)
    return resize(pixels, size)


def _record(photo: Picture, painting: Picture, plan: Plan, result: Result) -> dict[str, Any]:
    def name(picture: Picture) -> str:
        return str(picture) if isinstance(picture, str | Path) else "array"

    return {
        "npstyle": __version__,
        "photo": name(photo),
        "painting": name(painting),
        "network": plan.network.name,
        "network_sha256": plan.network.sha256,
        **asdict(plan.settings),
        "threads": plan.threads,
        "height": plan.photo_size[0],
        "width": plan.photo_size[1],
        "loss": result.loss,
        "parts": result.parts,
        "iterations_done": result.iterations,
        "evaluations": result.evaluations,
        "stopped": result.stopped,
    }
