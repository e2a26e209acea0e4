"""Train a network for one style: a painting and photos in, a style network out.

`npstyle.onepass.train` has the steps for arrays. This module chooses the networks and the objective
from the settings, draws the crops, and goes through the steps.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.device import Device, find_device, held_memory, on_device
from npstyle.engine.feedforward.memory import gradient_bytes
from npstyle.engine.interrupts import raise_if_interrupted
from npstyle.engine.machine import thread_count
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.header import reading_bytes
from npstyle.images.read import image_size, load_image
from npstyle.images.resize import fit_size
from npstyle.maths.array import Array
from npstyle.networks.johnson import transformer_layers, weight_count
from npstyle.networks.network import Network, shapes
from npstyle.networks.style_network import StyleNetwork
from npstyle.networks.weights import find_weights
from npstyle.onepass.styles import TRAINED_STYLES, load_named
from npstyle.onepass.stylize import bind_style_network, check_photo, paint
from npstyle.onepass.train import (
    WARM_UP,
    Training,
    adam_step,
    batch_gradient,
    new_training,
    rate_at,
    weights_of,
)
from npstyle.run.crops import Crops
from npstyle.run.machine import SHARE, allowed_memory
from npstyle.run.plan import prepared
from npstyle.run.settings import Settings
from npstyle.run.strategy import whole_bytes
from npstyle.run.stylize import photo_bytes
from npstyle.run.train_settings import MINUTES, TrainSettings
from npstyle.run.transfer import losses_for

VECTORS = 4
"""float64 crops besides the arrays of the networks: photo, picture, and gradients."""

TREES = 8
"""Arrays of the weights' form besides the network: gradients, Adam's m and v, and their successors
while a step is taken."""

PREVIEW_SIZE = 512
"""Longest side of the preview, in pixels."""


@dataclass(frozen=True)
class TrainingStep:
    """A step that has been taken.

    Attributes
    ----------
    training : Training
        The state after it.
    steps : int or None
        Steps of the whole training, where they are known yet.
    parts : dict
        Each weighted term of the loss, the mean over the step's crops.
    seconds : float
        Since the training began or was resumed.
    """

    training: Training
    steps: int | None
    parts: dict[str, float]
    seconds: float


class Trainer:
    """Trains a network for the style of one painting.

    Parameters
    ----------
    painting : Path
    crops : Crops
    settings : TrainSettings

    Attributes
    ----------
    judge : BoundNetwork
        The network of the loss.
    device : Device
    threads : int
    size : (int, int)
        Height and width of the painting as the loss sees it.

    Raises
    ------
    InputError
        If the painting, the preview, the network, the style to start from or the device cannot be
        used, or memory does not suffice.
    """

    def __init__(self, painting: Path, crops: Crops, settings: TrainSettings) -> None:
        self.painting, self.crops, self.settings = painting, crops, settings
        self.device: Device = find_device(settings.device)
        self.threads = thread_count(settings.threads)
        self._losses = settings.losses()
        with on_device(self.device):
            self.judge: BoundNetwork = prepared(settings.network, self._losses, self.device)
        free = allowed_memory(settings.memory, self.device, share=SHARE)
        if settings.start is None:
            _check_width(settings.width, free)
        self._network = _first_network(painting, settings)
        own = image_size(painting)
        self.size = fit_size(*own, settings.painting_size)
        _check_sizes(self.judge.network, self._losses, settings.crop, painting, self.size)
        self.memory = self._memory(_checked_preview(settings.preview))
        if self.memory > free:
            raise InputError(
                f"--crop {settings.crop}: the training needs {self.memory / 1e9:.2f} GB and "
                f"{max(0, free) / 1e9:.2f} GB are free; use a smaller crop, --width or "
                "--painting-size"
            )
        self._pixels = load_image(painting, settings.painting_size)
        if settings.preview is None:
            self._preview = crops.first(PREVIEW_SIZE)
        else:
            size = _preview_size(image_size(settings.preview))
            self._preview = load_image(settings.preview, size)

    @property
    def peak_memory(self) -> int:
        """Expected peak memory of the whole process on the device, in bytes."""
        return self.memory + held_memory(self.device)

    def _memory(self, preview: tuple[int, int]) -> int:
        """Memory of the device that the training takes beyond what is held, in bytes.

        The objective keeps its memory, and the threads keep their workspaces, while the network has
        its turn, a photo is read, or the preview is painted. The last two happen in the host's
        memory.
        """
        side = self.settings.crop
        crop = side, side
        judged = whole_bytes(self.judge, self._losses, crop, [self.size], self.threads, VECTORS)
        bound = bind_style_network(self._network)
        step = gradient_bytes(bound.transformer, side, side, with_kernels=True)
        layers = bound.network.transformer
        numbers = sum(array.nbytes for layer in layers for array in weights_of(layer).values())
        held = judged + TREES * numbers
        if self.device.is_gpu:
            return held + step
        shown = self.settings.preview
        seen = 0 if shown is None else reading_bytes(shown, preview)
        previewed = photo_bytes(bound, seen, preview, threads=0)
        needed = max(step, self.crops.reading_bytes(), previewed)
        reading = reading_bytes(self.painting, self.settings.painting_size)
        return max(reading, held + self.crops.held_bytes() + needed)

    def begin(self) -> Training:
        """Return the state before the first step."""
        return new_training(self._network)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Use the device and the threads; `run` and `preview` compute inside this context.

        Inside it Ctrl-C does not interrupt Python anywhere, such as in the middle of a file that is
        being written: see `npstyle.engine.interrupts`.
        """
        with on_device(self.device), use_threads(self.threads):
            yield

    def run(self, training: Training, steps: int | None = None) -> Iterator[TrainingStep]:
        """Take steps until the training ends.

        Parameters
        ----------
        training : Training
            From `begin`, or from a checkpoint.
        steps : int, optional
            Of the whole training; by default those of the settings. If those give minutes, the
            number is determined after the first steps.

        Raises
        ------
        InputError
            If the loss becomes NaN or infinite, or all photos are damaged.
        KeyboardInterrupt
            After Ctrl-C; the last state that was yielded is whole.
        """
        start, first = time.monotonic(), training.step
        steps = steps or self.settings.steps
        if steps is not None and training.step >= steps:
            return
        objective = self._objective()
        while steps is None or training.step < steps:
            raise_if_interrupted()
            training, parts = self._step(objective, training, steps)
            seconds = time.monotonic() - start
            if steps is None and training.step >= WARM_UP:
                minutes = self.settings.minutes or MINUTES
                each = seconds / (training.step - first)
                steps = max(training.step, round(minutes * 60 / each))
            yield TrainingStep(training, steps, parts, seconds)

    def preview(self, training: Training) -> Array:
        """Paint the photo of the preview, (height, width, 3), RGB, 0..255."""
        return paint(bind_style_network(training.network), self._preview, np.zeros(0))

    def _objective(self) -> StyleObjective:
        side = self.settings.crop
        losses = losses_for(self.judge.network, self._losses)
        return StyleObjective(self.judge, np.zeros((side, side, 3)), self._pixels, losses)

    def _step(
        self, objective: StyleObjective, training: Training, steps: int | None
    ) -> tuple[Training, dict[str, float]]:
        """Take one step; its crops depend on the seed and its number alone."""
        rng = np.random.default_rng((self.settings.seed, training.step))
        photos = [self.crops.draw(rng) for _ in range(self.settings.batch)]
        weight = self.settings.checkerboard_weight
        gradients, parts = batch_gradient(training.network, objective, photos, weight)
        arrays = [array for found in gradients.values() for array in found.values()]
        if not np.isfinite(sum(parts.values())) or not all(np.isfinite(a).all() for a in arrays):
            raise InputError(
                f"--network {self.judge.network.name}: the loss or its gradient became infinite or "
                f"NaN after {training.step} steps; use another network or other weights of the "
                "losses"
            )
        return adam_step(training, gradients, rate_at(training.step + 1, steps)), parts


def _check_sizes(
    network: Network, losses: Settings, crop: int, painting: Path, size: tuple[int, int]
) -> None:
    """Raise InputError if the crops, or the painting at a size, are too small for the losses."""
    style = losses.style_layers
    try:
        shapes(network, [*losses.content_layers, *style], crop, crop)
    except InputError as error:
        raise InputError(
            f"--crop {crop}: is too small for the layers of network {network.name}; give more"
        ) from error
    try:
        shapes(network, style, *size)
    except InputError as error:
        raise InputError(
            f"{painting}: {size[1]}x{size[0]} pixels are too few for the layers of network "
            f"{network.name}; raise --painting-size, or use a painting that is less narrow"
        ) from error


def _preview_size(own: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which a photo of this size is painted; it is not enlarged."""
    return fit_size(*own, min(PREVIEW_SIZE, max(own)))


def _checked_preview(photo: Path | None) -> tuple[int, int]:
    """Height and width of the preview; raises InputError if its photo cannot be painted.

    A photo of the training, in the place of None, counts among those that are read.
    """
    if photo is None:
        return PREVIEW_SIZE, PREVIEW_SIZE
    size = _preview_size(image_size(photo))
    try:
        check_photo(size)
    except InputError as error:
        raise InputError(f"--preview {photo}: {error}") from error
    return size


def _check_width(width: int, free: int) -> None:
    """Raise InputError, before a wide network is made, if memory does not hold its weights."""
    needed = TREES * 4 * weight_count(width)
    if needed > max(free, 10**9):
        raise InputError(
            f"--width {width}: the weights and their gradients need {needed / 1e9:.2f} GB and "
            f"{max(0, free) / 1e9:.2f} GB are free; use a smaller width"
        )


def _first_network(painting: Path, settings: TrainSettings) -> StyleNetwork:
    """The network before the first step: random weights, or those of another style."""
    source = f"trained by npstyle on the painting {painting.name}"
    if settings.start is None:
        network = _random_network(settings)
    else:
        network = _loaded_network(settings.start)
        source += f", starting from {network.name}"
    digest = hashlib.sha256(painting.read_bytes()).hexdigest()
    return replace(network, name=painting.stem, source=source, source_sha256=digest)


def _random_network(settings: TrainSettings) -> StyleNetwork:
    """A network that has not been trained."""
    return StyleNetwork(
        name="",
        transformer=transformer_layers(settings.width, settings.seed),
        predictor=(),
        code=0,
        channel_order="RGB",
        mean=(127.5,) * 3,
        scale=(1 / 127.5,) * 3,
        output_scale=255.0,
        source="",
        license="",
        source_sha256="",
    )


def _loaded_network(name: str) -> StyleNetwork:
    """A network with one style; raises InputError for others."""
    try:
        find_weights(name)
    except InputError as error:
        raise InputError(
            f"--start {name}: there is no such style or file; give one of "
            f"{', '.join(TRAINED_STYLES)}, or a FILE.npz"
        ) from error
    network = load_named(name)
    if network.styles != 1 or network.code:
        raise InputError(
            f"--start {name}: this network has several styles; start from one with a single style"
        )
    return network
