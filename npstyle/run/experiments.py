"""The paper's two halves apart: a photo from its content, a texture from a painting's style.

Gatys et al. 2015, Figure 1: white noise is moved until one layer sees in it what it sees in the
photo (content reconstruction), or until several layers see the painting's Gram matrices (style
reconstruction, which is texture synthesis).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from npstyle.errors import InputError
from npstyle.run.pictures import Picture, Pictures
from npstyle.run.settings import STYLE_LAYERS, Settings

CONTENT_ROW = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
"""The layers of Figure 1, right half."""

STYLE_ROW = tuple(STYLE_LAYERS[: k + 1] for k in range(len(STYLE_LAYERS)))
"""The nested sets of layers of Figure 1, left half: A, B, C, D, E."""


def reconstruction(photo: Picture, layer: str, settings: Settings) -> tuple[Pictures, Settings]:
    """What `transfer` needs to reconstruct a photo from one layer.

    Parameters
    ----------
    photo : picture
    layer : str
        Such as "conv4_2".
    settings : Settings
        Everything else; the start is white noise if they say "content".
    """
    init = _start(settings)
    settings = replace(settings, content_layers={layer: 1.0}, style_layers={}, init=init)
    return Pictures(photo, ()), settings


def texture(
    painting: Picture, layers: Mapping[str, float], size: tuple[int, int], settings: Settings
) -> tuple[Pictures, Settings]:
    """What `transfer` needs to make a texture after a painting.

    Parameters
    ----------
    painting : picture
    layers : mapping from layer to w_l
    size : (height, width)
        Of the texture, in pixels.
    settings : Settings
        Everything else; the start is white noise if they say "content".
    """
    init = _start(settings)
    settings = replace(settings, content_layers={}, style_layers=layers, init=init, size=max(size))
    return Pictures(np.zeros((*size, 3)), (painting,)), settings


def _start(settings: Settings) -> str:
    return "noise" if settings.init == "content" else settings.init


def parse_size(text: str) -> tuple[int, int]:
    """Read "256" or "320x200" (width x height); returns (height, width).

    Raises
    ------
    InputError
        If it is neither, or has no pixels.
    """
    try:
        numbers = [int(part) for part in text.lower().split("x")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise InputError(f"--size {text}: give pixels such as 256, or WIDTHxHEIGHT such as 320x200")
    return numbers[-1], numbers[0]
