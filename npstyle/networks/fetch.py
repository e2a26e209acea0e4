"""Download the published networks, once, into the user's data directory.

The files are Keras Applications' convolution-only copies of Simonyan and Zisserman's networks
(Visual Geometry Group, University of Oxford, CC BY 4.0). pooch downloads to a temporary name,
compares the hash and only then gives the file its own; proxies are those of the environment
(HTTPS_PROXY). A download that breaks off leaves nothing behind and is begun anew.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from npstyle.errors import InputError
from npstyle.networks.convert import convert
from npstyle.networks.weights import Weights, load_weights, user_data_dir

TIMEOUT_S = 30
"""Seconds without an answer after which the network counts as absent."""


@dataclass(frozen=True)
class Published:
    """Where a file is to be had, and its MD5 hash, as Keras publishes it."""

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
"""By name of the network."""


def fetch(name: str, progress: Any = None, say: Callable[[str], None] = print) -> Weights:
    """Download a network and convert it to `NAME.npz` in the user's data directory.

    Parameters
    ----------
    name : "vgg16" or "vgg19"
    progress : object like a tqdm bar, optional
        With `total`, `update(bytes)`, `reset()` and `close()`; see `pooch.HTTPDownloader`.
    say : callable
        Told what is being done.

    Returns
    -------
    Weights
        As read back from the file written.

    Raises
    ------
    InputError
        If there is no such network, it cannot be downloaded, or its hash is another.
    """
    import pooch
    import requests

    if name not in PUBLISHED:
        raise InputError(f"{name}: cannot be fetched; choose one of {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    destination = _writable(user_data_dir()) / f"{name}.npz"
    if destination.exists():
        say(f"{destination} is there already; delete it to fetch it anew")
        return load_weights(destination)
    cache = _writable(platformdirs.user_cache_path("npstyle"))
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
    except ValueError as error:  # pooch's word for another hash
        raise InputError(
            f"{name}: what came from the network has another hash than the published file, and "
            f"was thrown away; try again, or {by_hand}"
        ) from error
    say(f"converting to {destination}")
    weights = convert(file, destination)
    file.unlink()
    return weights


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    return folder


def _reason(error: Exception) -> str:
    """The shortest true account of a network's failure."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_S} seconds"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
