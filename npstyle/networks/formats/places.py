"""Find a network among the tensors of a file that contains more than its state dictionary.

Programs save a state dictionary under a key (`{"model": ...}`, `{"state_dict": ...}`), and modules
inside others have a prefix (`module.features.0.weight`, `vgg.features.0.weight`). The name of a
tensor here is its path: the keys of the dictionaries, each followed by "/", and its own name. A
place is the part of the paths that all tensors of one network have in common: "model/module.".
"""

import re
from collections.abc import Iterable
from pathlib import Path

from npstyle.errors import InputError

NESTING = "/"
"""Separates the keys of nested dictionaries."""

PLACE = r"(?P<place>(?:.*[./])?)"
"""Pattern of a place, to which the pattern of a name is appended."""


def grouped(names: Iterable[str], pattern: str) -> dict[str, list[re.Match[str]]]:
    """Return the matches of a pattern of names by their places."""
    groups: dict[str, list[re.Match[str]]] = {}
    whole = re.compile(PLACE + pattern)
    for name in names:
        if match := whole.fullmatch(name):
            groups.setdefault(match["place"], []).append(match)
    return groups


def only_place(source: Path, places: Iterable[str], network: str) -> str:
    """Return the only place; raise InputError, which lists them, if there are several."""
    several = sorted(places)
    if len(several) == 1:
        return several[0]
    shown = ", ".join(place or "no prefix" for place in several)
    raise InputError(
        f"{source}: contains {len(several)} networks that are {network}, under {shown:.200}; save "
        "the tensors of one of them in a file of their own"
    )
