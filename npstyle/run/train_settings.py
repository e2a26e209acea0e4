"""The settings of a training."""

from dataclasses import dataclass, replace
from pathlib import Path

from npstyle.errors import InputError
from npstyle.onepass.train import WARM_UP
from npstyle.run.machine import memory_setting
from npstyle.run.settings import PresetName, Settings, with_preset
from npstyle.run.table import (
    LOSSES,
    MACHINE,
    PICTURE,
    RECORDS,
    TRAINING,
    read_own,
    setting,
    threads_setting,
)

LEAST_SIDE = 64
"""Least side of a crop in pixels: the deepest layers of a loss network halve it four times."""

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
        f"Length of the training: the first {WARM_UP} steps tell how many steps that is on this "
        "machine. --resume keeps this number.",
        TRAINING,
        shown=f"{MINUTES:g}",
    )
    steps: int | None = setting(None, "Number of steps, instead of --minutes.", TRAINING)
    start: str | None = setting(
        None,
        "Start from a style that was trained before, of the same painting or of another one, "
        "instead of random weights. This takes far fewer steps. The width is that of the file.",
        TRAINING,
        metavar="FILE.npz",
    )
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
        "Weight of the photo's content, as a multiple of the preset's. Lower values give a "
        "stronger style. A network gives up content first, so it needs more than a search.",
        LOSSES,
    )
    tv_weight: float = setting(0.0, "Weight of smoothness (total variation).", LOSSES)
    checkerboard_weight: float = setting(
        0.2,
        "Weight of the term against lines 2 or 4 pixels apart, which networks that enlarge put "
        "into every picture.",
        LOSSES,
    )
    network: str | None = setting(
        None,
        "The network that computes the loss: builtin, vgg19, or another weights file, as for "
        "`npstyle transfer`.",
        LOSSES,
        metavar="builtin|vgg19|FILE",
        shown="vgg19 where installed, else builtin",
    )
    crop: int = setting(256, "Side of the crops of the photos, in pixels.", TRAINING)
    batch: int = setting(1, "Crops per step.", TRAINING)
    seed: int = setting(0, "Seed of the first weights and of the crops.", TRAINING)
    save_every: int = setting(
        200,
        "Save the network, the checkpoint, the log and the preview every N steps.",
        RECORDS,
    )
    preview: Path | None = setting(
        None,
        "Photo to paint each time the style is saved.",
        RECORDS,
        shown="the first of the photos",
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
        read_own(self)
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
        for name in ("content_weight", "tv_weight", "checkerboard_weight"):
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
