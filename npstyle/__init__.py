"""Neural style transfer from scratch on NumPy: every derivative written by hand.

    import npstyle
    done = npstyle.transfer("town.jpg", "starry_night.jpg", settings=npstyle.Settings(size=256))
    npstyle.save_image("out.png", done.result.image, done.record)

`StyleObjective` is the loss and its gradient at the pixels; the kernels and losses under it are
plain functions on plain arrays, (height, width, channels).
"""

from npstyle.errors import InputError
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
from npstyle.network import Network, backward, configure, forward, load_network
from npstyle.objective import Evaluation, StyleObjective
from npstyle.ops.conv import conv2d, conv2d_backward, conv2d_backward_weights
from npstyle.ops.gram import gram, gram_backward
from npstyle.ops.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from npstyle.ops.relu import relu, relu_backward
from npstyle.optimize import Progress, Result, optimize
from npstyle.presets import PRESETS, Settings
from npstyle.transfer import Plan, Transfer, transfer
from npstyle.version import __version__

__all__ = [
    "PRESETS",
    "Evaluation",
    "InputError",
    "Network",
    "Plan",
    "Progress",
    "Result",
    "Settings",
    "StyleObjective",
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
    "load_image",
    "load_network",
    "max_pool2d",
    "max_pool2d_backward",
    "mean_gram",
    "optimize",
    "relu",
    "relu_backward",
    "save_image",
    "style_loss",
    "style_loss_backward",
    "total_variation",
    "total_variation_backward",
    "transfer",
]
