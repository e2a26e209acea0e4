"""The two halves of the paper's method: content reconstruction and texture synthesis.

Gatys et al. 2015, Figure 1. Both start from white noise. Content reconstruction changes it until
the activations of one layer equal the photo's. Style reconstruction, or texture synthesis, changes
it until the Gram matrices of several layers equal the painting's.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from npstyle.errors import InputError
from npstyle.run.machine import allowed_memory
from npstyle.run.pictures import Picture, Pictures
from npstyle.run.settings import STYLE_LAYERS, Settings

CONTENT_ROW = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
"""Layers of content reconstruction in Figure 1."""

STYLE_ROW = tuple(STYLE_LAYERS[: k + 1] for k in range(len(STYLE_LAYERS)))
"""Nested sets of style layers in Figure 1: A, B, C, D, E."""


def reconstruction(photo: Picture, layer: str, settings: Settings) -> tuple[Pictures, Settings]:
    """Return pictures and settings that reconstruct a photo from one layer.

    Parameters
    ----------
    photo : picture
    layer : str
        Such as "conv4_2".
    settings : Settings
        All other settings. White noise replaces the starts "auto" and "content".

    Raises
    ------
    InputError
        If the start needs a painting.
    """
    init = _start(settings, has_painting=False)
    settings = replace(settings, content_layers={layer: 1.0}, style_layers={}, init=init)
    return Pictures(photo, ()), settings


def texture(
    painting: Picture, layers: Mapping[str, float], size: tuple[int, int], settings: Settings
) -> tuple[Pictures, Settings]:
    """Return pictures and settings that make a texture from a painting.

    Parameters
    ----------
    painting : picture
    layers : mapping from layer to w_l
    size : (height, width)
        The texture's size in pixels.
    settings : Settings
        All other settings. White noise replaces the starts "auto" and "content".

    Raises
    ------
    InputError
        If the start is "one-pass", or memory does not even hold the texture.
    """
    init = _start(settings, has_painting=True)
    needed, free = size[0] * size[1] * 3 * 8, allowed_memory(None)
    if needed > free:
        raise InputError(
            f"--size {size[1]}x{size[0]}: the texture alone takes {needed / 1e9:.2f} GB and "
            f"{free / 1e9:.2f} GB are free; give a smaller one"
        )
    settings = replace(settings, content_layers={}, style_layers=layers, init=init, size=max(size))
    return Pictures(np.zeros((*size, 3)), (painting,)), settings


def _start(settings: Settings, has_painting: bool) -> str:
    if settings.init == "one-pass":
        raise InputError(
            "--init one-pass: needs a photo and a painting, and this experiment has only one of "
            "them; give noise"
        )
    if settings.init in ("style", "style-stats") and not has_painting:
        raise InputError(
            f"--init {settings.init}: needs a painting, and this experiment has none; give noise"
        )
    return "noise" if settings.init in ("auto", "content") else settings.init


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as "256" or "320x200" (width x height); returns (height, width).

    Raises
    ------
    InputError
        If the text is neither, or a side is below 1.
    """
    try:
        numbers = [int(part) for part in text.lower().split("x")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise InputError(f"--size {text}: give pixels such as 256, or WIDTHxHEIGHT such as 320x200")
    return numbers[-1], numbers[0]
