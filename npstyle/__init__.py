"""Neural style transfer from scratch on NumPy: every derivative written by hand.

    import npstyle
    done = npstyle.transfer("town.jpg", "starry_night.jpg", settings=npstyle.Settings(size=256))
    npstyle.save_image("out.png", done.result.image, done.record)

`StyleObjective` is the loss and its gradient at the pixels, `TiledObjective` the same for a picture
larger than memory; the kernels and losses under them are plain functions on plain arrays, (height,
width, channels).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npstyle.errors import InputError
    from npstyle.guides import Region, Source
    from npstyle.image import load_image, save_image
    from npstyle.losses import (
        content_loss,
        content_loss_backward,
        mean_gram,
        style_loss,
        style_loss_backward,
        total_variation,
        total_variation_backward,
    )
    from npstyle.network import Network, configure, load_network
    from npstyle.objective import Evaluation, StyleObjective
    from npstyle.ops.conv import conv2d, conv2d_backward, conv2d_backward_weights
    from npstyle.ops.gram import gram, gram_backward
    from npstyle.ops.pad import replicate, replicate_backward
    from npstyle.ops.pool import (
        avg_pool2d,
        avg_pool2d_backward,
        l2_pool2d,
        l2_pool2d_backward,
        max_pool2d,
        max_pool2d_backward,
    )
    from npstyle.ops.relu import relu, relu_backward
    from npstyle.optimizers import Progress, Result, optimize
    from npstyle.passes import backward, forward
    from npstyle.planning import Plan
    from npstyle.presets import PRESETS, Settings
    from npstyle.style_transfer import State, Transfer, transfer
    from npstyle.tiled_objective import TiledObjective
    from npstyle.version import __version__

# A name is imported when it is first asked for, so that `npstyle --help` need not wait for NumPy
# and SciPy. The table says the same as the imports above, which are for type checkers.
_HOMES = {
    "errors": ["InputError"],
    "guides": ["Region", "Source"],
    "image": ["load_image", "save_image"],
    "losses": [
        "content_loss",
        "content_loss_backward",
        "mean_gram",
        "style_loss",
        "style_loss_backward",
        "total_variation",
        "total_variation_backward",
    ],
    "network": ["Network", "configure", "load_network"],
    "objective": ["Evaluation", "StyleObjective"],
    "ops.conv": ["conv2d", "conv2d_backward", "conv2d_backward_weights"],
    "ops.gram": ["gram", "gram_backward"],
    "ops.pad": ["replicate", "replicate_backward"],
    "ops.pool": [
        "avg_pool2d",
        "avg_pool2d_backward",
        "l2_pool2d",
        "l2_pool2d_backward",
        "max_pool2d",
        "max_pool2d_backward",
    ],
    "ops.relu": ["relu", "relu_backward"],
    "optimizers": ["Progress", "Result", "optimize"],
    "passes": ["backward", "forward"],
    "planning": ["Plan"],
    "presets": ["PRESETS", "Settings"],
    "style_transfer": ["State", "Transfer", "transfer"],
    "tiled_objective": ["TiledObjective"],
    "version": ["__version__"],
}

__all__ = [
    "PRESETS",
    "Evaluation",
    "InputError",
    "Network",
    "Plan",
    "Progress",
    "Region",
    "Result",
    "Settings",
    "Source",
    "State",
    "StyleObjective",
    "TiledObjective",
    "Transfer",
    "__version__",
    "avg_pool2d",
    "avg_pool2d_backward",
    "backward",
    "configure",
    "content_loss",
    "content_loss_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_weights",
    "forward",
    "gram",
    "gram_backward",
    "l2_pool2d",
    "l2_pool2d_backward",
    "load_image",
    "load_network",
    "max_pool2d",
    "max_pool2d_backward",
    "mean_gram",
    "optimize",
    "relu",
    "relu_backward",
    "replicate",
    "replicate_backward",
    "save_image",
    "style_loss",
    "style_loss_backward",
    "total_variation",
    "total_variation_backward",
    "transfer",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
