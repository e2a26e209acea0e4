"""Which style network, and which style: names, files, and mixtures of learned styles."""

import re
from functools import lru_cache

import numpy as np

from npstyle.errors import InputError
from npstyle.maths.array import Array
from npstyle.networks.style_network import StyleNetwork, load_style_network
from npstyle.networks.weights import find_weights

ANY_STYLE = "any_style"
"""The network of the package that takes any painting."""

MANY_STYLES = "multistyle26"
"""The network of the package with learned styles."""

TRAINED_STYLES = ("great_wave", "starry_night")
"""The networks of the package with one style each, trained by `npstyle train`."""

MIXTURE = r"\d+(:[\d.]+)?(,\d+(:[\d.]+)?)*"
"""Numbers of styles, each with its share or without: 7, or 3:0.5,12:0.5."""


@lru_cache(maxsize=2)
def load_named(name: str) -> StyleNetwork:
    """Load a style network by the path of its file, or by its name in `weights/` or the package.

    Raises
    ------
    InputError
        If there is no such file, or it is not that of a style network.
    """
    return load_style_network(find_weights(name))


def parse_style(text: str) -> tuple[StyleNetwork, Array]:
    """Return the network and the style code that `--style` names.

    Parameters
    ----------
    text : str
        A style of the package's network, such as "7"; a mixture, such as "3:0.5,12:0.5"; or the
        file or name of a network, such as "starry_night", alone or with a style of its own:
        "FILE.npz", "FILE.npz:7".

    Returns
    -------
    network : StyleNetwork
    code : array (code,)
        Empty if the network has one style.

    Raises
    ------
    InputError
        If the network has no such style, or is for paintings.
    """
    file, mixture = MANY_STYLES, text
    if not re.fullmatch(MIXTURE, text):
        found = re.fullmatch(rf"(.+\.npz):({MIXTURE})", text)
        file, mixture = (found[1], found[2]) if found else (text, "")
    try:
        find_weights(file)
    except InputError as error:
        raise InputError(
            f"--style {text}: there is no such style or file; give a number from 0 to 25, one of "
            f"{', '.join(TRAINED_STYLES)}, or a FILE.npz"
        ) from error
    network = load_named(file)
    if network.predictor:
        raise InputError(
            f"--style {text}: this network reads its style from a painting; give it by --painting"
        )
    if not mixture and network.code:
        raise InputError(
            f"--style {text}: this network has {network.styles} styles; name one, {text}:0 to "
            f"{text}:{network.styles - 1}"
        )
    return network, mixture_code(mixture, network)


def mixture_code(mixture: str, network: StyleNetwork) -> Array:
    """Return the code of a mixture of learned styles, such as "3:0.5,12:0.5"; shares sum to 1."""
    code = np.zeros(network.code)
    for part in filter(None, mixture.split(",")):
        number, _, share = part.partition(":")
        if int(number) >= network.styles:
            raise InputError(
                f"--style {mixture}: there is no style {number}; network {network.name} has "
                f"0 to {network.styles - 1}"
            )
        if network.code:
            code[int(number)] += _share(mixture, share)
    if mixture and network.code and not code.sum() > 0:
        raise InputError(f"--style {mixture}: give a share above 0 to one of the styles")
    return code / code.sum() if code.size and mixture else code


def _share(mixture: str, text: str) -> float:
    try:
        return float(text or 1)
    except ValueError as error:
        raise InputError(f"--style {mixture}: {text} is not a number") from error
