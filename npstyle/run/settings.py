"""The settings of a run, and the published programs' numbers as presets.

The objective is the paper's, with total variation added:

    alpha sum_c w_c L_c + beta sum_l w_l E_l + gamma T

`npstyle.maths` defines the losses. Published programs take means where the paper takes sums, so the
same alpha / beta gives different pictures. A preset is a set of numbers, not other code:

==============  =============================  ======================================  =====
preset          alpha at a content layer       beta at a style layer                   gamma
==============  =============================  ======================================  =====
`gatys`         1 x 2/(N M)                    1e3 x 4/N^2                             0
`paper`         1                              1e3                                     0
`neural-style`  5 x 2/(N M)                    1e2 x 4/N^2                             5e-4
==============  =============================  ======================================  =====

The factor 2/(N M) turns L into the mean squared difference of the activations. The factor 4/N^2
turns E into the mean squared difference of the Gram matrices divided by another N^2, as in both
programs: Gatys' PyTorch notebook has style weights 1e3/N^2, and jcjohnson's neural-style divides G
by N M. `content_weight` and `style_weight` therefore mean what users of these programs expect.

neural-style's `-tv_weight 1e-3` multiplies the differences themselves in the gradient, without the
factor 2 of a square's derivative: gamma = 5e-4 gives the same gradient.

`paper` is literal: sums, weights w_l = 1/5, alpha/beta = 1e-3 (Figure 2 B-D; for E and F set
`style_weight` to 1e4). It is meant for a network whose filters have mean activation 1 (`npstyle
weights normalize`). With either ratio it reconstructs the photo and hardly changes its style,
because L grows with N M and E does not. At 192 pixels, a normalised VGG-19 needs a `style_weight`
of about 1e7 to give a painting.

The other two presets were published for VGG-19 as trained with Caffe. Its mean activation over
photographs and paintings is about 46 at the style layers (geometric mean) and 130 at conv4_2. On a
network normalised to mean activation 1, E falls by a factor of 46^4 and L by one of 130^2, because
E is of the fourth degree in the activations and L of the second. `NORMALIZED_STYLE_FACTOR`
compensates for this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from npstyle.engine.losses import Losses, Scaling
from npstyle.errors import InputError
from npstyle.images.color import Color
from npstyle.maths.layers import PaddingMode, Pooling
from npstyle.run.table import (
    LOSSES,
    MACHINE,
    PAINTINGS,
    PICTURE,
    SEARCH,
    blend_setting,
    check_blend,
    check_count,
    parse_layers,
    parse_scales,
    read_own,
    setting,
    weighted,
)
from npstyle.search import Optimizer, Precondition
from npstyle.search.adam import ADAM_STEP

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
"""The five style layers of the paper's Figure 2."""

NORMALIZED_STYLE_FACTOR = 250.0
"""Factor on a preset's style weight, with `scaling` "means", for a network of mean activation 1."""

SINGLE_SCALE = 512
"""Longest side in pixels up to which the default is one scale; larger results use several."""

SMALLEST_SCALE = 256
"""Longest side in pixels of the coarsest scale that "auto" chooses."""

ONE_PASS_ITERATIONS = 40
"""Iterations up to which a search that starts from the photo painted in one pass ends with a lower
loss than one that starts from the photo; measured, see tools/README.md."""

MOST_PIXELS, MOST_STEPS = 10**6, 10**7
"""Longest side and number of steps above which no run ends on any machine."""

NOT_FINITE = (
    "--content-weight, --style-weight, --tv-weight: the loss of the first picture is infinite or "
    "NaN; give smaller weights, or another --network"
)
"""The sentence for a run that has no picture to keep."""

STARTS = ("auto", "content", "one-pass", "noise", "style", "style-stats")
"""Words for the picture to start from; any other text is the name of a file."""

PresetName = Literal["gatys", "paper", "neural-style"]
Precision = Literal["float32", "tf32", "fp16"]
Dtype = Literal["float32", "float64"]

_OF_PRESET = "the preset's"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a run depends on, except the pictures and the network.

    The fields below are documented where they are declared; `npstyle transfer --help` prints the
    same texts. The defaults are the preset `gatys`. Change single settings with
    `dataclasses.replace(PRESETS[name], size=256)`.

    Raises
    ------
    InputError
        If a value cannot be used; names the option.
    """

    preset: PresetName = setting(
        "gatys",
        "Published parameters to use: gatys (the authors' code: content 1, style 1e3, average "
        "pooling, 230 steps), paper (the literal sums: alpha 1, beta 1e3, from noise, 450 steps), "
        "neural-style (jcjohnson's: content 5, style 100, TV, max pooling, from noise, 900 "
        "steps). The other options override single parameters.",
        PICTURE,
    )
    size: int = setting(512, "Longest side of the result, in pixels.", PICTURE)
    scales: tuple[int, ...] | Literal["auto"] | None = setting(
        None,
        "Work from coarse to fine: longest sides such as 256,512,1024, each starting from the "
        "enlarged result of the one before. The last is the size of the result. auto: steps of "
        "sqrt(2) up to --size, none below 256.",
        PICTURE,
        metavar="auto|SIZE,...",
        parse=parse_scales,
        shown="auto above 512, else --size alone",
    )
    style_scale: float = setting(
        1.0,
        "Longest side of the painting as a multiple of --size: smaller values give finer "
        "brushwork, larger values coarser.",
        PICTURE,
    )
    init: str = setting(
        "auto",
        "The picture to start from: the photo (content), the photo painted in one pass, noise, the "
        "painting, noise in the painting's colours (their mean and covariance), or a file. auto: "
        f"one-pass for at most {ONE_PASS_ITERATIONS} iterations, else content.",
        PICTURE,
        metavar="|".join((*STARTS, "FILE")),
        shown=_OF_PRESET,
    )
    blend: tuple[float, ...] = blend_setting()
    color: Color = setting(
        "painting",
        "Colours of the result. painting: the painting's. luminance: the photo's, because only "
        "luminance is transferred. histogram: the photo's, because the painting is first given "
        "their mean and covariance.",
        PAINTINGS,
    )
    pooling: Pooling = setting("avg", "How the network pools.", LOSSES, shown=_OF_PRESET)
    padding: PaddingMode = setting(
        "zero",
        "What the first layer sees beyond the edge of the picture: zeros, or the nearest pixel "
        "of the edge.",
        LOSSES,
    )
    content_layers: Mapping[str, float] = setting(
        {"conv4_2": 1.0},
        "Layers at which the content is compared, such as conv4_2:1.0. Deeper layers keep less "
        "of the photo's detail.",
        LOSSES,
        metavar="LAYER[:WEIGHT],...",
        parse=parse_layers,
        shown="conv4_2",
    )
    style_layers: Mapping[str, float] = setting(
        dict.fromkeys(STYLE_LAYERS, 1.0),
        "Layers at which the style is compared, such as conv1_1,conv2_1:0.5. Deeper layers hold "
        "larger strokes.",
        LOSSES,
        metavar="LAYER[:WEIGHT],...",
        parse=parse_layers,
        shown=",".join(STYLE_LAYERS),
    )
    content_weight: float = setting(1.0, "Weight of the photo's content.", LOSSES, shown=_OF_PRESET)
    style_weight: float = setting(1e3, "Weight of the painting's style.", LOSSES, shown=_OF_PRESET)
    tv_weight: float = setting(
        0.0, "Weight of smoothness (total variation).", LOSSES, shown=_OF_PRESET
    )
    scaling: Scaling = setting(
        "means",
        "Units of the weights: mean squared differences, as in the published programs, or the "
        "paper's sums.",
        LOSSES,
        shown=_OF_PRESET,
    )
    iterations: int = setting(
        230,
        "Steps of the optimiser. Each scale after the first takes half as many.",
        SEARCH,
        shown=_OF_PRESET,
    )
    optimizer: Optimizer = setting(
        "lbfgs",
        "lbfgs converges fastest; scipy takes the same steps with SciPy's L-BFGS-B, on one thread; "
        "adam needs a quarter of the memory.",
        SEARCH,
    )
    precondition: Precondition = setting(
        "on",
        "Let L-BFGS move the frequencies of the picture, low ones further (on), or its pixels "
        "(off). on needs far fewer steps for the same loss.",
        SEARCH,
    )
    adam_step: float = setting(
        ADAM_STEP,
        "How far adam moves a pixel in one step, approximately, on the scale 0..255.",
        SEARCH,
    )
    seed: int = setting(0, "Seed of the noise.", SEARCH)
    dtype: Dtype = setting(
        "float32",
        "Precision of the losses and gradients. The picture itself is always float64.",
        MACHINE,
    )
    exact: bool = setting(
        False,
        "Compute every convolution as a plain sum, without Winograd's method, even in float32. "
        "This is slower, and the losses differ by rounding.",
        MACHINE,
    )
    precision: Precision = setting(
        "float32",
        "Precision of the products in a GPU's wide 3x3 convolutions. tf32 and fp16 use tensor "
        "cores and keep 11 significant bits of each factor; the sums are float32.",
        MACHINE,
    )

    def __post_init__(self) -> None:
        """Raise InputError for values that no run could use."""
        read_own(self)
        if not isinstance(self.init, str | Path):
            raise InputError(f"--init: give one of {', '.join(STARTS)}, or the name of a file")
        check_count("--size", self.size, MOST_PIXELS)
        check_count("--iterations", self.iterations, MOST_STEPS)
        if not 0 < self.style_scale <= MOST_PIXELS:
            raise InputError(f"--style-scale {self.style_scale}: give a number above 0, such as 1")
        self._check_weights()
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: give a whole number of 0 or more")
        if not 0 < self.adam_step < float("inf"):
            raise InputError(f"--adam-step {self.adam_step}: give a number above 0, such as 5")
        if self.precision != "float32" and (self.exact or self.dtype != "float32"):
            other = "--exact" if self.exact else f"--dtype {self.dtype}"
            raise InputError(
                f"--precision {self.precision}: contradicts {other}; leave one of them out"
            )
        if isinstance(self.scales, tuple):
            rises = all(a < b for a, b in pairwise((0, *self.scales)))
            if not self.scales or not rises:
                listed = ",".join(map(str, self.scales))
                raise InputError(f"--scales {listed}: give increasing sizes, such as 256,512,1024")

    def _check_weights(self) -> None:
        for name, layers in (("content", self.content_layers), ("style", self.style_layers)):
            if not isinstance(layers, Mapping):
                raise InputError(f"--{name}-layers: give a mapping, such as {{'conv4_2': 1.0}}")
        weights = {
            "--content-weight": self.content_weight,
            "--style-weight": self.style_weight,
            "--tv-weight": self.tv_weight,
            **{f"--content-layers {name}": w for name, w in self.content_layers.items()},
            **{f"--style-layers {name}": w for name, w in self.style_layers.items()},
        }
        for option, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(
                    f"{option}: the weight {weight} cannot be used; give a number of 0 or more"
                )
        check_blend(self.blend)

    def scale_sizes(self) -> tuple[int, ...]:
        """Return the longest side at each scale, from coarse to fine."""
        if isinstance(self.scales, tuple):
            return self.scales
        if self.scales is None and self.size <= SINGLE_SCALE:
            return (self.size,)
        sizes = [self.size]
        while (smaller := round(self.size / 2 ** (len(sizes) / 2))) >= SMALLEST_SCALE:
            sizes.insert(0, smaller)
        return tuple(sizes)

    def scale_steps(self) -> tuple[int, ...]:
        """Return the steps of the optimiser at each scale."""
        later = max(1, self.iterations // 2)
        return (self.iterations, *[later] * (len(self.scale_sizes()) - 1))

    def losses(self) -> Losses:
        """Return the layers with a loss, and the weights of the losses."""
        return Losses(
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            scaling=self.scaling,
        )


# The preconditioned search reaches in 230, 450 and 900 iterations the loss that a search on pixels
# has after 300, 500 and 1000; see "The search" and the whole runs in tools/README.md.
PRESETS: Mapping[str, Settings] = {
    "gatys": Settings(),
    "paper": Settings(
        preset="paper",
        init="noise",
        style_layers=dict.fromkeys(STYLE_LAYERS, 1 / len(STYLE_LAYERS)),
        scaling="sums",
        iterations=450,
    ),
    "neural-style": Settings(
        preset="neural-style",
        init="noise",
        pooling="max",
        content_weight=5.0,
        style_weight=1e2,
        tv_weight=5e-4,
        iterations=900,
    ),
}


def with_preset(given: Mapping[str, Any]) -> Settings:
    """Return the settings of a preset, changed by those that the user has given.

    Parameters
    ----------
    given : mapping from field name to value
        As `npstyle.run.table.read_given` returns it. `preset` names the preset; the default is
        `gatys`. Layers without a weight get 1, with the paper's sums 1 / number of layers. The last
        of several scales is the size of the result.

    Raises
    ------
    InputError
        If the last scale differs from the given size, or a value cannot be used.
    """
    values = dict(given)
    base = PRESETS[values.get("preset", "gatys")]
    for name in ("content_layers", "style_layers"):
        if name in values:
            values[name] = weighted(values[name], share=base.scaling == "sums")
    scales = values.get("scales")
    if isinstance(scales, tuple) and scales:
        if values.get("size") not in (None, scales[-1]):
            raise InputError(
                f"--scales {','.join(map(str, scales))}: ends at {scales[-1]} and --size is "
                f"{values['size']}; leave out --size"
            )
        values["size"] = scales[-1]
    return replace(base, **values)
