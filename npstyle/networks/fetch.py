"""Download the published networks once, into the user's data directory.

The files are copies of Simonyan and Zisserman's networks (Visual Geometry Group, University of
Oxford, CC BY 4.0) by Keras Applications, without the dense layers. pooch downloads to a temporary
file and renames it after checking the hash. It uses the proxies of the environment (HTTPS_PROXY).
An interrupted download leaves no file, and the next call starts from the beginning.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from npstyle.errors import InputError
from npstyle.files import make_folder
from npstyle.networks.convert import convert
from npstyle.networks.weights import Weights, load_weights, user_data_dir

TIMEOUT_S = 30
"""Seconds to wait for an answer from the server before giving up."""


@dataclass(frozen=True)
class Published:
    """The URL of a file and its MD5 hash, as published by Keras."""

    url: str
    md5: str


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

PUBLISHED = {
    name: Published(f"{_KERAS}/{name}/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5", md5)
    for name, md5 in {
        "vgg16": "6d6bbae143d832006294945121d1f1fc",
        "vgg19": "253f8cb515780f3b799900260a226db6",
    }.items()
}
"""Published files by the name of the network."""


def fetch(name: str, progress: Any = None, say: Callable[[str], None] = print) -> Weights:
    """Download a network and convert it to `NAME.npz` in the user's data directory.

    Parameters
    ----------
    name : "vgg16" or "vgg19"
    progress : progress bar, optional
        An object with `total`, `update(bytes)`, `reset()` and `close()`, such as tqdm's; see
        `pooch.HTTPDownloader`.
    say : callable
        Prints a line about each step.

    Returns
    -------
    Weights
        Loaded from the new file, or from the existing one.

    Raises
    ------
    InputError
        If there is no such network, the download fails, or the hash differs.
    """
    import pooch
    import requests

    if name not in PUBLISHED:
        raise InputError(f"{name}: cannot be fetched; choose one of {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    mend = "check its permissions"
    destination = make_folder(user_data_dir(), mend) / f"{name}.npz"
    if destination.exists():
        say(f"{destination} already exists; delete it to download it again")
        return load_weights(destination)
    cache = make_folder(platformdirs.user_cache_path("npstyle"), mend)
    pooch.get_logger().setLevel(logging.WARNING)
    say(f"downloading {published.url}")
    by_hand = (
        f"to do it by hand, download {published.url} (MD5 {published.md5}) on any machine and run "
        f"`npstyle weights convert {Path(published.url).name} {destination}`"
    )
    try:
        file = Path(
            pooch.retrieve(
                published.url,
                f"md5:{published.md5}",
                path=cache,
                fname=Path(published.url).name,
                downloader=pooch.HTTPDownloader(progressbar=progress or False, timeout=TIMEOUT_S),
            )
        )
    except (requests.RequestException, OSError) as error:
        raise InputError(
            f"{name}: could not be downloaded ({_reason(error)}); {by_hand}"
        ) from error
    except ValueError as error:  # pooch raises it if the hash differs
        raise InputError(
            f"{name}: the download was deleted, because its hash differs from the published one; "
            f"try again, or {by_hand}"
        ) from error
    say(f"converting to {destination}")
    weights = convert(file, destination)
    file.unlink()
    return weights


def _reason(error: Exception) -> str:
    """Describe the failure of a download in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_S} seconds"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
