"""Train a network for one style: a painting and photos in, a style network out.

`npstyle.onepass.train` has the steps for arrays. This module chooses the networks and the objective
from the settings, draws the crops, and goes through the steps.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npstyle.engine.bind import BoundNetwork
from npstyle.engine.device import Device, find_device, held_memory, on_device
from npstyle.engine.feedforward.bind import bind_layers
from npstyle.engine.feedforward.memory import gradient_bytes
from npstyle.engine.machine import thread_count
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.read import image_size, load_image
from npstyle.images.resize import fit_size
from npstyle.maths.array import Array
from npstyle.networks.johnson import transformer_layers
from npstyle.networks.network import shapes
from npstyle.networks.style_network import StyleNetwork
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
from npstyle.run.crops import Crops, crops_bytes
from npstyle.run.machine import SHARE, allowed_memory, memory_setting
from npstyle.run.plan import prepared
from npstyle.run.settings import PresetName, Settings, with_preset
from npstyle.run.strategy import whole_bytes
from npstyle.run.table import LOSSES, MACHINE, PICTURE, RECORDS, SEARCH, setting, threads_setting
from npstyle.run.transfer import losses_for

LEAST_SIDE = 64
"""Least side of a crop in pixels: the deepest layers of a loss network halve it four times."""

VECTORS = 4
"""float64 crops besides the arrays of the networks: photo, picture, and gradients."""

PREVIEW_SIZE = 512
"""Longest side of the preview, in pixels."""

MINUTES = 60.0
"""Default length of a training."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a style is trained.

    The fields are documented where they are declared; `npstyle train --help` prints the same texts.

    Raises
    ------
    InputError
        If a value cannot be used; names the option.
    """

    minutes: float | None = setting(
        None,
        "Length of the training: the first steps tell how many steps that is on this machine.",
        SEARCH,
        shown=f"{MINUTES:g}",
    )
    steps: int | None = setting(None, "Number of steps, instead of --minutes.", SEARCH)
    width: int = setting(
        16,
        "Channels of the network at full size; twice as many take nearly four times the memory of "
        "the file and two to three times the time.",
        PICTURE,
    )
    painting_size: int = setting(
        384,
        "Longest side of the painting, in pixels: larger values give coarser strokes.",
        PICTURE,
    )
    preset: PresetName = setting("gatys", "The loss, as for `npstyle transfer`.", LOSSES)
    content_weight: float = setting(
        30.0,
        "Weight of the photo's content, as a multiple of the preset's. A network gives up content "
        "first, so it needs more than a search.",
        LOSSES,
    )
    tv_weight: float = setting(0.0, "Weight of smoothness (total variation).", LOSSES)
    network: str | None = setting(
        None,
        "The network that computes the loss: builtin, vgg19, or another weights file, as for "
        "`npstyle transfer`.",
        LOSSES,
        metavar="builtin|vgg19|FILE",
        shown="vgg19 where installed, else builtin",
    )
    crop: int = setting(256, "Side of the crops of the photos, in pixels.", SEARCH)
    batch: int = setting(1, "Crops per step.", SEARCH)
    seed: int = setting(0, "Seed of the first weights and of the crops.", SEARCH)
    save_every: int = setting(
        200,
        "Steps between two savings of the network, the checkpoint, the log and the preview.",
        RECORDS,
    )
    preview: Path | None = setting(
        None, "Photo that is painted at every saving.", RECORDS, shown="the first of the photos"
    )
    threads: int | None = threads_setting()
    device: str = setting(
        "auto",
        "Where to compute, as for `npstyle transfer`.",
        MACHINE,
        metavar="auto|cpu|cuda|cuda:N",
    )
    memory: int | None = memory_setting()

    def __post_init__(self) -> None:
        """Raise InputError for values that no training could use."""
        for name in ("width", "batch", "save_every", "painting_size"):
            if getattr(self, name) < 1:
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} {getattr(self, name)}: give a number of 1 or more")
        if self.minutes is not None and self.steps is not None:
            raise InputError("--minutes and --steps: each sets the length; give one of them")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise InputError(f"--minutes {self.minutes:g}: give a number above 0, such as 60")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"--steps {self.steps}: give a number of 1 or more")
        if self.crop < LEAST_SIDE or self.crop % 4:
            raise InputError(
                f"--crop {self.crop}: give a multiple of 4 of {LEAST_SIDE} or more, such as 256"
            )
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: give a whole number of 0 or more")
        for name in ("content_weight", "tv_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} {getattr(self, name)}: give a number of 0 or more")

    def losses(self) -> Settings:
        """Return the settings of the objective."""
        base = with_preset({"preset": self.preset})
        return replace(
            base,
            content_weight=base.content_weight * self.content_weight,
            tv_weight=base.tv_weight + self.tv_weight,
        )


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

    Raises
    ------
    InputError
        If the painting, the network or the device cannot be used, or memory does not suffice.
    """

    def __init__(self, painting: Path, crops: Crops, settings: TrainSettings) -> None:
        self.painting, self.crops, self.settings = painting, crops, settings
        self.device: Device = find_device(settings.device)
        self.threads = thread_count(settings.threads)
        self._losses = settings.losses()
        with on_device(self.device):
            self.judge: BoundNetwork = prepared(settings.network, self._losses, self.device)
        size = fit_size(*image_size(painting), settings.painting_size)
        wanted = [*self._losses.content_layers, *self._losses.style_layers]
        if settings.preview is not None:
            check_photo(fit_size(*image_size(settings.preview), PREVIEW_SIZE))
        shapes(self.judge.network, wanted, settings.crop, settings.crop)
        shapes(self.judge.network, self._losses.style_layers, *size)
        self.memory = self._memory(size)
        free = allowed_memory(settings.memory, self.device, share=SHARE)
        if self.memory > free:
            raise InputError(
                f"--crop {settings.crop}: the training needs {self.memory / 1e9:.2f} GB and "
                f"{max(0, free) / 1e9:.2f} GB are free; use a smaller crop or --width"
            )

    @property
    def peak_memory(self) -> int:
        """Expected peak memory of the whole process on the device, in bytes."""
        return self.memory + held_memory(self.device)

    def _memory(self, painting: tuple[int, int]) -> int:
        """Memory of the device that the training takes beyond what is held, in bytes."""
        side, layers = self.settings.crop, transformer_layers(self.settings.width, 0)
        judged = whole_bytes(
            self.judge, self._losses, (side, side), [painting], self.threads, VECTORS
        )
        layers_bytes = gradient_bytes(bind_layers(layers), side, side, with_kernels=True)
        numbers = sum(array.nbytes for layer in layers for array in weights_of(layer).values())
        crops = 0 if self.device.is_gpu else crops_bytes(len(self.crops.photos), side)
        return judged + layers_bytes + 8 * numbers + crops

    def begin(self) -> Training:
        """Return the state before the first step: random weights."""
        layers = transformer_layers(self.settings.width, self.settings.seed)
        return new_training(
            StyleNetwork(
                name=self.painting.stem,
                transformer=layers,
                predictor=(),
                code=0,
                channel_order="RGB",
                mean=(127.5,) * 3,
                scale=(1 / 127.5,) * 3,
                output_scale=255.0,
                source=f"trained by npstyle on the painting {self.painting.name}",
                license="",
                source_sha256="",
            )
        )

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
        with self._computing():
            objective = self._objective()
            while steps is None or training.step < steps:
                training, parts = self._step(objective, training, steps)
                seconds = time.monotonic() - start
                if steps is None and training.step >= WARM_UP:
                    minutes = self.settings.minutes or MINUTES
                    each = seconds / (training.step - first)
                    steps = max(training.step, round(minutes * 60 / each))
                yield TrainingStep(training, steps, parts, seconds)

    def preview(self, training: Training) -> Array:
        """Paint the photo of the preview, (height, width, 3), RGB, 0..255."""
        photo = load_image(self.settings.preview or self.crops.photos[0], PREVIEW_SIZE)
        with use_threads(self.threads):
            return paint(bind_style_network(training.network), photo, np.zeros(0))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with on_device(self.device), use_threads(self.threads):
            yield

    def _objective(self) -> StyleObjective:
        side = self.settings.crop
        painting = load_image(self.painting, self.settings.painting_size)
        losses = losses_for(self.judge.network, self._losses)
        return StyleObjective(self.judge, np.zeros((side, side, 3)), painting, losses)

    def _step(
        self, objective: StyleObjective, training: Training, steps: int | None
    ) -> tuple[Training, dict[str, float]]:
        """Take one step; its crops depend on the seed and its number alone."""
        rng = np.random.default_rng((self.settings.seed, training.step))
        photos = [self.crops.draw(rng) for _ in range(self.settings.batch)]
        gradients, parts = batch_gradient(training.network, objective, photos)
        if not np.isfinite(sum(parts.values())):
            raise InputError(
                f"--network {self.judge.network.name}: the loss became infinite or NaN after "
                f"{training.step} steps; use another network or other weights of the losses"
            )
        return adam_step(training, gradients, rate_at(training.step + 1, steps)), parts
