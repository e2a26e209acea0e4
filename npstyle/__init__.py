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
    from npstyle.engine.cpu.conv import conv2d, conv2d_backward, conv2d_backward_weights
    from npstyle.engine.cpu.gram import gram, gram_backward
    from npstyle.engine.cpu.losses import (
        content_loss,
        content_loss_backward,
        mean_gram,
        style_loss,
        style_loss_backward,
        total_variation,
        total_variation_backward,
    )
    from npstyle.engine.cpu.padding import replicate, replicate_backward
    from npstyle.engine.cpu.pooling import (
        avg_pool2d,
        avg_pool2d_backward,
        l2_pool2d,
        l2_pool2d_backward,
        max_pool2d,
        max_pool2d_backward,
    )
    from npstyle.engine.cpu.relu import relu, relu_backward
    from npstyle.engine.guides import Region, Source
    from npstyle.engine.objective import Evaluation, StyleObjective
    from npstyle.engine.passes import backward, forward
    from npstyle.errors import InputError
    from npstyle.images.read import load_image
    from npstyle.images.write import save_image
    from npstyle.networks.network import Network, configure, load_network
    from npstyle.run.plan import Plan
    from npstyle.run.settings import PRESETS, Settings
    from npstyle.run.transfer import State, Transfer, transfer
    from npstyle.search.optimize import Progress, Result, optimize
    from npstyle.tiles.objective import TiledObjective
    from npstyle.version import __version__

# A name is imported when it is first asked for, so that `npstyle --help` need not wait for NumPy
# and SciPy. The table says the same as the imports above, which are for type checkers.
_HOMES = {
    "errors": ["InputError"],
    "engine.guides": ["Region", "Source"],
    "images.read": ["load_image"],
    "images.write": ["save_image"],
    "engine.cpu.losses": [
        "content_loss",
        "content_loss_backward",
        "mean_gram",
        "style_loss",
        "style_loss_backward",
        "total_variation",
        "total_variation_backward",
    ],
    "networks.network": ["Network", "configure", "load_network"],
    "engine.objective": ["Evaluation", "StyleObjective"],
    "engine.cpu.conv": ["conv2d", "conv2d_backward", "conv2d_backward_weights"],
    "engine.cpu.gram": ["gram", "gram_backward"],
    "engine.cpu.padding": ["replicate", "replicate_backward"],
    "engine.cpu.pooling": [
        "avg_pool2d",
        "avg_pool2d_backward",
        "l2_pool2d",
        "l2_pool2d_backward",
        "max_pool2d",
        "max_pool2d_backward",
    ],
    "engine.cpu.relu": ["relu", "relu_backward"],
    "search.optimize": ["Progress", "Result", "optimize"],
    "engine.passes": ["backward", "forward"],
    "run.plan": ["Plan"],
    "run.settings": ["PRESETS", "Settings"],
    "run.transfer": ["State", "Transfer", "transfer"],
    "tiles.objective": ["TiledObjective"],
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
