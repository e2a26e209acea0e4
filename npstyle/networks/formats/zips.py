"""Zip archives: their members decide whether Keras, NumPy or PyTorch wrote them."""

import re
import zipfile
from pathlib import Path

from npstyle.errors import InputError
from npstyle.networks.formats.found import Found
from npstyle.networks.formats.keras import WEIGHTS_MEMBER, read_keras_archive
from npstyle.networks.formats.numpy_archive import MEMBER, read_numpy_archive
from npstyle.networks.formats.pytorch import read_pytorch_zip
from npstyle.networks.formats.state_dict import find_convolutions

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""Start of a zip archive, and of one without members."""


def read_zip(source: Path) -> Found:
    """Read a VGG in a zip archive.

    Raises
    ------
    InputError
        If the archive is damaged or another program's.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except Exception as error:  # zipfile raises almost any exception on damaged archives
        raise InputError(
            f"{source}: the zip archive is damaged or truncated ({error}); download it again"
        ) from error
    if WEIGHTS_MEMBER in names:
        return read_keras_archive(source)
    if any(re.fullmatch(MEMBER, name) for name in names):
        return read_numpy_archive(source)
    if "meta.npy" in names:
        raise InputError(
            f"{source}: is a file of npstyle, which needs no conversion; use it with --network"
        )
    if any(name.split("/")[-1] == "data.pkl" for name in names):
        return read_pytorch_zip(source, find_convolutions)
    shown = ", ".join(names[:3])[:100] or "nothing"
    raise InputError(
        f"{source}: is a zip archive of {shown}, which is no network; if a weights file is among "
        "its members, unpack the archive and convert that file"
    )
