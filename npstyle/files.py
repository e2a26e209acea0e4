"""Write files so that a failure leaves no partial file."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

from npstyle.errors import InputError


def check_destination(path: Path, suffixes: Sequence[str]) -> None:
    """Raise InputError if a file with one of these suffixes cannot be written to this path.

    Call it before long work, so that the work does not fail at its end.
    """
    check_name(path)
    if path.suffix.lower() not in suffixes:
        found = f"the suffix {path.suffix}" if path.suffix else "a name without a suffix"
        raise InputError(f"{path}: {found} cannot be written; use {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file in it")
    check_parent(path)


def check_parent(path: Path) -> None:
    """Raise InputError unless a file or folder can be created or replaced in the folder of `path`.

    Call it before long work.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to; choose another")


def check_name(path: Path) -> None:
    """Raise InputError if no file can have this name, because it is too long for example."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError as error:
        raise InputError(
            f"{path}: the folder {path.parent} may not be read; choose another"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"{path}: no file can have this name ({reason}); give a shorter or simpler one by -o"
        ) from error


def check_folder(folder: Path, what: str) -> None:
    """Raise InputError unless files can be written to this folder, or it can be created.

    Parameters
    ----------
    folder : Path
    what : str
        The files, for the message.
    """
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for {what}")
    if not folder.is_dir():
        check_parent(folder)
    elif not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: the folder cannot be written to; choose another")


def make_folder(folder: Path, mend: str = "choose another") -> Path:
    """Create a folder, and those that it is in, unless it is there; return it.

    Parameters
    ----------
    folder : Path
    mend : str
        What to do if it cannot be created, for the message.

    Raises
    ------
    InputError
        If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be created ({error.strerror}); {mend}"
        ) from error
    return folder


def check_apart(outputs: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """Raise InputError if a file to write is also to be read, or is named twice.

    Parameters
    ----------
    outputs : mapping from option to Path or None
    inputs : iterable of Path
    """
    inputs = list(inputs)
    seen: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if any(_is_same(path, read) for read in inputs):
            raise InputError(
                f"{option} {path}: this file is to be read, and would be lost; give another name"
            )
        for other, written in seen.items():
            if _is_same(path, written):
                raise InputError(f"{option} {path}: is also the file of {other}; give another name")
        seen[option] = path


def _is_same(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one of them does not exist
        return os.path.realpath(first) == os.path.realpath(second)


def free_name(path: Path) -> Path:
    """Return a path that no file has: this one, or with a number, such as name-2.png.

    For files that the user did not name, so that none of the user's is replaced.
    """
    if not os.path.lexists(path):
        return path
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in numbered if not os.path.lexists(name))


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that replaces `path` when the block ends without an exception.

    Raises
    ------
    InputError
        If it cannot be written (a full disk, no permission). An existing file is not changed.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:20]}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp gives 0600 instead of a new file's permissions
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free disk space or choose "
            "another folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
