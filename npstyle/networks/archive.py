"""Archives of arrays: an `.npz` file with a JSON text `meta`. The reader does not trust them.

Nothing is ever unpickled, and the declared sizes are checked before any data is read.
"""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.lib import format as npy

from npstyle.errors import InputError
from npstyle.files import written_whole
from npstyle.maths.array import Array
from npstyle.networks.formats.unknown import START_BYTES, what_it_is

MAX_BYTES = 2 << 30
"""Bytes of tensors beyond which a file is refused. VGG-19 with its dense layers has 575 MB."""

MAX_RATIO = 20
"""Ratio of tensors to file size beyond which a file is refused: weights compress less."""

MAX_META_BYTES = 1 << 20
"""Bytes of `meta` in memory beyond which a file is refused."""

Headers = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and dtype of every array by its name, `meta` included."""

T = TypeVar("T")


def read_meta(path: Path) -> dict[str, Any]:
    """Return the decoded `meta` of an archive, or {} if it is not a JSON object.

    Raises InputError as `read_archive` does, except for damage in other arrays.
    """

    def read(archive: zipfile.ZipFile) -> dict[str, Any]:
        meta = _read_meta(path, archive, _headers(path, archive))
        return meta if isinstance(meta, dict) else {}

    return _opened(path, read)


def read_archive(path: Path, parse: Callable[[Any, Headers], T]) -> tuple[T, dict[str, Array]]:
    """Read an archive.

    Parameters
    ----------
    path : Path
    parse : callable
        Receives the decoded `meta` and the headers, before any other data is read, and raises
        InputError if they are not valid.

    Returns
    -------
    parsed : what `parse` returned
    tensors : dict of arrays
        All arrays but `meta`.

    Raises
    ------
    InputError
        If the file is missing, truncated or damaged.
    """

    def read(archive: zipfile.ZipFile) -> tuple[T, dict[str, Array]]:
        headers = _headers(path, archive)
        parsed = parse(_read_meta(path, archive, headers), headers)
        return parsed, {name: _read(path, archive, name) for name in headers if name != "meta"}

    return _opened(path, read)


def read_arrays(path: Path, wanted: Callable[[str], bool]) -> dict[str, Array]:
    """Return the arrays of an archive without `meta` whose names are wanted.

    Raises InputError as `read_archive` does.
    """

    def read(archive: zipfile.ZipFile) -> dict[str, Array]:
        names = [name for name in _headers(path, archive) if wanted(name)]
        return {name: _read(path, archive, name) for name in names}

    return _opened(path, read)


def _opened(path: Path, read: Callable[[zipfile.ZipFile], T]) -> T:
    """Return what `read` finds in an archive; turn every exception into an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            words = what_it_is(file.read(START_BYTES))
        if words is not None:
            raise InputError(f"{path}: {words}") from error
        raise InputError(
            f"{path}: is not an .npz weights file, or is truncated; for another format run "
            "`npstyle weights convert`"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # A hostile file can make zipfile, its decompressors and NumPy's header parser raise
        # almost any exception. The cause is always the file.
        raise InputError(
            f"{path}: is damaged ({type(error).__name__}: {error}); fetch or convert it again"
        ) from error


def write_archive(path: Path, meta: Any, tensors: Mapping[str, Array]) -> None:
    """Write an archive, whole or not at all. The same content always gives the same bytes."""
    arrays = {"meta": np.array(json.dumps(meta)), **tensors}
    with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A fixed date, so that the same weights give the same bytes.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            if array.dtype in (np.float16, np.int8):  # stored in short numbers to be small
                member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.ascontiguousarray(array).reshape(array.shape))


def _headers(path: Path, archive: zipfile.ZipFile) -> Headers:
    """Return shape and dtype of every array from its header; refuse arrays of another size."""
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    total = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in headers:
            raise InputError(
                f"{path}: contains {member.filename!r}, which is not part of a weights file"
            )
        try:
            with archive.open(member) as stream:
                shape, dtype = _read_header(stream)
                data_bytes = member.file_size - stream.tell()
        except Exception as error:  # see read_archive
            raise InputError(f"{path}: the array {name} is damaged ({error})") from error
        if dtype.hasobject:
            raise InputError(
                f"{path}: the array {name} contains pickled Python objects, which could run any "
                "code; use a file without them"
            )
        if math.prod(shape) * dtype.itemsize != data_bytes:
            raise InputError(
                f"{path}: the array {name} declares {shape} of {dtype} but has {data_bytes} "
                "bytes; the file is damaged, fetch or convert it again"
            )
        total += data_bytes
        headers[name] = (shape, dtype)
    largest = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
    if total > largest:
        raise InputError(
            f"{path}: declares {total / 1e9:.1f} GB of weights, but a file of its size has less "
            f"than {largest / 1e9:.1f} GB; use another file"
        )
    return headers


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version != (1, 0):  # later versions are for headers of more than 64 KiB
        raise ValueError(f".npy version {version}")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    return shape, dtype


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    try:
        with archive.open(f"{name}.npy") as stream:
            array: Array = npy.read_array(stream, allow_pickle=False)
            stream.read(1)  # reaching the end makes zipfile compare the checksum
    except Exception as error:  # see read_archive
        raise InputError(f"{path}: the array {name} is damaged ({error})") from error
    return array


def _read_meta(path: Path, archive: zipfile.ZipFile, headers: Headers) -> Any:
    if "meta" not in headers:
        raise InputError(
            f"{path}: has no `meta`, so it is not a weights file of npstyle; "
            "make one with `npstyle weights convert`"
        )
    shape, dtype = headers["meta"]
    if shape != () or dtype.kind != "U" or dtype.itemsize > MAX_META_BYTES:
        raise InputError(f"{path}: `meta` must be one short JSON text, but is {shape} of {dtype}")
    try:
        return json.loads(str(_read(path, archive, "meta")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: `meta` is not valid JSON ({error})") from error


def check_finite(path: Path, tensors: Mapping[str, Array]) -> None:
    """Raise InputError, naming `path`, if an array contains NaN or infinity."""
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise InputError(f"{path}: the array {name} contains NaN or infinity; convert it again")


def check_origin_and_input(path: Path, meta: Mapping[str, Any]) -> None:
    """Raise InputError unless `meta` states where a network comes from, and what it is fed."""
    for field in ("name", "source", "license", "source_sha256"):
        if not isinstance(meta.get(field), str):
            raise InputError(f"{path}: `meta` must give a string for {field}")
    if meta.get("channel_order") not in ("RGB", "BGR"):
        raise InputError(f'{path}: `meta` must give "RGB" or "BGR" for channel_order')
    for field in ("mean", "scale"):
        values = meta.get(field)
        if not (isinstance(values, list) and len(values) == 3 and all(map(is_number, values))):
            raise InputError(f"{path}: `meta` must give three finite numbers for {field}")


def is_number(value: Any) -> bool:
    """Whether a value of the decoded JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
