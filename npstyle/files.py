"""Write files so that a failure leaves no partial file."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from npstyle.errors import InputError


def check_destination(path: Path, suffixes: Sequence[str]) -> None:
    """Raise InputError if a file with one of these suffixes cannot be written to this path.

    Call it before long work, so that the work does not fail at its end.
    """
    if path.suffix.lower() not in suffixes:
        found = f"the suffix {path.suffix}" if path.suffix else "a name without a suffix"
        raise InputError(f"{path}: {found} cannot be written; use {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to; choose another")


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
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
