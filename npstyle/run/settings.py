"""The settings of a run, and the published programs' numbers as presets.

The paper writes the objective as

    alpha sum_c w_c L_c + beta sum_l w_l E_l + gamma T

with the losses of `npstyle.engine.cpu.losses`. Published programs take means where the paper takes sums, so
the same alpha / beta means different pictures. A preset is a set of numbers, not other code:

==============  =============================  ======================================  =====
preset          alpha at a content layer       beta at a style layer                   gamma
==============  =============================  ======================================  =====
`gatys`         1 x 2/(N M)                    1e3 x 4/N^2                             0
`paper`         1                              1e3                                     0
`neural-style`  5 x 2/(N M)                    1e2 x 4/N^2                             5e-4
==============  =============================  ======================================  =====

2/(N M) turns L into the mean squared difference of the activations, and 4/N^2 turns E into the
mean squared difference of the Gram matrices, divided by a further N^2 as both programs do: Gatys'
PyTorch notebook as style weights 1e3/N^2, jcjohnson's neural-style by dividing G by N M. So
`content_weight` and `style_weight` are the numbers that users of these programs know.

neural-style's `-tv_weight 1e-3` multiplies the differences themselves in its gradient, without
the 2 that the derivative of a square has: gamma = 5e-4 gives the same gradient.

`paper` is literal: sums, weights w_l = 1/5, alpha/beta = 1e-3 (Figure 2 B-D; for E and F set
`style_weight` to 1e4). It is meant for a network whose filters have mean activation 1 (`npstyle
weights normalize`). Taken literally it reconstructs the photo and hardly styles it, on such weights
as on others, since L grows with N M while E does not. At 192 pixels on a normalised VGG-19 a
`style_weight` of 1e7 paints.

The other two were published for VGG-19 as it came from Caffe, whose mean activation over
photographs and paintings is about 46 at the style layers (geometric mean) and 130 at conv4_2. On
a network normalised to mean activation 1, E, which is of the fourth power in the activations,
falls behind L, which is of the second, by 46^4 / 130^2: `NORMALIZED_STYLE_FACTOR` makes up for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from npstyle.engine.losses import Losses, Scaling
from npstyle.errors import InputError
from npstyle.images.color import Color
from npstyle.maths.network import PaddingMode, Pooling

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
"""The five style layers of the paper's Figure 2."""

NORMALIZED_STYLE_FACTOR = 250.0
"""Factor on the style weight of a preset in means, on a network of mean activation 1."""

ADAM_STEP = 5.0
"""Of Adam, in 0..255."""

SINGLE_SCALE = 512
"""Results up to this size are made at once, larger ones from coarse to fine."""

SMALLEST_SCALE = 256
"""The coarsest of the scales that are chosen for the user."""

Optimizer = Literal["lbfgs", "adam"]
Precision = Literal["float32", "tf32", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a run depends on, the pictures and the network aside.

    The defaults are the preset `gatys`. For a change use `dataclasses.replace(PRESETS[name],
    size=256)`.

    Attributes
    ----------
    preset : str
        Where the numbers came from.
    size : int
        Longest side of the result, in pixels.
    style_scale : float
        Longest side of the painting, as a multiple of `size`.
    scales : tuple of int, "auto" or None
        Longest sides from coarse to fine; each starts from the enlarged result before it, and the
        last is the result's size, whatever `size` says. "auto": `size` divided by sqrt(2) again and
        again, down to 256. None: "auto" above 512, else `size` alone.
    init : str
        The picture to start from: "content", "noise", "style", "style-stats" (noise with the
        painting's mean and covariance of colours) or the name of a file.
    blend : tuple of float
        What each of several paintings counts; alike if empty.
    color : "painting", "luminance" or "histogram"
        Whose colours the result has; see `npstyle.images.color`.
    pooling : "avg", "max" or "l2"
        How the network pools.
    padding : "zero" or "replicate"
        What the first convolution sees beyond the picture.
    content_layers, style_layers : mapping from layer to w_l
        Where the losses sit.
    content_weight, style_weight, tv_weight : float
        Factors of the three terms, in the units of `scaling`.
    scaling : "means" or "sums"
        Mean squared differences (the published programs) or the paper's sums.
    iterations : int
        Steps of the optimiser; at each scale but the first, half as many.
    optimizer : "lbfgs" or "adam"
    adam_step : float
        About how far Adam moves a pixel in a step, in 0..255.
    seed : int
        Of the noise.
    dtype : "float32" or "float64"
        The engine's precision; the optimiser always works in float64.
    exact : bool
        Take the plain sums also in float32, not the fast route that differs by rounding.
    precision : "float32", "tf32" or "fp16"
        What a GPU multiplies in, in its wide 3x3 convolutions; tf32 and fp16 (ten bits of fraction)
        on tensor cores. Sums are float32.
    """

    preset: str = "gatys"
    size: int = 512
    scales: tuple[int, ...] | Literal["auto"] | None = None
    style_scale: float = 1.0
    init: str = "content"
    blend: tuple[float, ...] = ()
    color: Color = "painting"
    pooling: Pooling = "avg"
    padding: PaddingMode = "zero"
    content_layers: Mapping[str, float] = field(default_factory=lambda: {"conv4_2": 1.0})
    style_layers: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0)
    )
    content_weight: float = 1.0
    style_weight: float = 1e3
    tv_weight: float = 0.0
    scaling: Scaling = "means"
    iterations: int = 300
    optimizer: Optimizer = "lbfgs"
    adam_step: float = ADAM_STEP
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    exact: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuse what no run could use.

        Raises
        ------
        InputError
            Naming the option.
        """
        for option in ("size", "iterations"):
            if getattr(self, option) < 1:
                raise InputError(f"--{option} {getattr(self, option)}: give a number of 1 or more")
        if not 0 < self.style_scale < float("inf"):
            raise InputError(f"--style-scale {self.style_scale}: give a number above 0, such as 1")
        weights = {
            "--content-weight": self.content_weight,
            "--style-weight": self.style_weight,
            "--tv-weight": self.tv_weight,
            **{f"--content-layers {name}": w for name, w in self.content_layers.items()},
            **{f"--style-layers {name}": w for name, w in self.style_layers.items()},
        }
        for option, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(f"{option}: the weight {weight} is no finite number of 0 or more")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: give a whole number of 0 or more")
        if not 0 < self.adam_step < float("inf"):
            raise InputError(f"--adam-step {self.adam_step}: give a number above 0, such as 5")
        if self.precision != "float32" and (self.exact or self.dtype != "float32"):
            other = "--exact" if self.exact else f"--dtype {self.dtype}"
            raise InputError(
                f"--precision {self.precision}: is not what {other} asks for; leave one of them out"
            )
        if self.blend and not (min(self.blend) >= 0 and 0 < sum(self.blend) < float("inf")):
            raise InputError(f"--blend {self.blend}: give numbers of 0 or more, one of them above")
        if isinstance(self.scales, tuple):
            rises = all(a < b for a, b in pairwise((0, *self.scales)))
            if not self.scales or not rises:
                listed = ",".join(map(str, self.scales))
                raise InputError(f"--scales {listed}: give rising sizes, such as 256,512,1024")

    def losses(self) -> Losses:
        """Return where the losses sit, and how much each counts."""
        return Losses(
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            scaling=self.scaling,
        )

    def scale_sizes(self) -> tuple[int, ...]:
        """The longest side at each scale, from coarse to fine."""
        if isinstance(self.scales, tuple):
            return self.scales
        if self.scales is None and self.size <= SINGLE_SCALE:
            return (self.size,)
        sizes = [self.size]
        while (smaller := round(self.size / 2 ** (len(sizes) / 2))) >= SMALLEST_SCALE:
            sizes.insert(0, smaller)
        return tuple(sizes)

    def scale_steps(self) -> tuple[int, ...]:
        """Steps of the optimiser at each scale."""
        later = max(1, self.iterations // 2)
        return (self.iterations, *[later] * (len(self.scale_sizes()) - 1))


PRESETS: Mapping[str, Settings] = {
    "gatys": Settings(),
    "paper": Settings(
        preset="paper",
        init="noise",
        style_layers=dict.fromkeys(STYLE_LAYERS, 1 / len(STYLE_LAYERS)),
        scaling="sums",
        iterations=500,
    ),
    "neural-style": Settings(
        preset="neural-style",
        init="noise",
        pooling="max",
        content_weight=5.0,
        style_weight=1e2,
        tv_weight=5e-4,
        iterations=1000,
    ),
}


def parse_layers(option: str, texts: Iterable[str], share: bool) -> dict[str, float]:
    """Read layers with optional weights, such as ["conv1_1", "conv2_1:0.5"].

    Parameters
    ----------
    option : str
        The option's name, for messages.
    texts : strings
        Each "layer" or "layer:weight"; a text may hold several with commas between.
    share : bool
        What a layer without a weight gets: 1 / number of layers (the paper's w_l) if true, else 1.

    Raises
    ------
    InputError
        If a weight is no number, or a layer is named twice.
    """
    entries = [entry.strip() for text in texts for entry in text.split(",") if entry.strip()]
    layers: dict[str, float] = {}
    for entry in entries:
        name, colon, weight = entry.partition(":")
        if name in layers:
            raise InputError(f"{option} {entry}: layer {name} is named twice; name it once")
        try:
            layers[name] = float(weight) if colon else (1 / len(entries) if share else 1.0)
        except ValueError as error:
            raise InputError(
                f"{option} {entry}: {weight!r} is no number; write it like conv4_2:0.5"
            ) from error
    return layers


def parse_numbers(option: str, texts: Iterable[str]) -> tuple[float, ...]:
    """Read numbers, such as ["3", "7"] or ["3,7"]; InputError if one is none."""
    entries = [entry for text in texts for entry in text.split(",") if entry.strip()]
    try:
        return tuple(float(entry) for entry in entries)
    except ValueError as error:
        raise InputError(
            f"{option} {' '.join(entries)}: give numbers, such as {option} 3 7"
        ) from error


def parse_scales(text: str | None, size: int | None) -> dict[str, Any]:
    """Read "auto" or sizes such as "256,512"; the settings `scales` and `size` that they mean.

    Raises
    ------
    InputError
        If they are no whole numbers, or end at another size than the one asked for.
    """
    if text is None or text == "auto":
        return {"scales": text}
    try:
        sizes = tuple(int(entry) for entry in text.split(","))
    except ValueError as error:
        raise InputError(f"--scales {text}: give auto, or sizes such as 256,512,1024") from error
    if size not in (None, sizes[-1]):
        raise InputError(f"--scales {text}: ends at {sizes[-1]} and --size is {size}; drop --size")
    return {"scales": sizes, "size": sizes[-1]}
