"""The folder of an atlas: written completely or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npstyle.errors import InputError
from npstyle.files import check_parent

MARKER = ".npstyle-atlas"
"""A file that marks a folder as an atlas, so that another one may replace it."""


def check_folder(folder: Path) -> None:
    """Raise InputError if no atlas can be written to this folder; call it before long work."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise InputError(f"{folder}: exists and is not an atlas; give the name of a new folder")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the name of a new folder")
    check_parent(folder)


@contextmanager
def folder_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` when the block ends without an exception.

    Raises
    ------
    InputError
        If it cannot be written. An atlas that was there before is not changed.
    """
    target = folder.resolve()
    work: Path | None = None
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        made = work / "atlas"
        made.mkdir()
        yield made
        (made / MARKER).write_text("", encoding="utf-8")
        _exchange(made, target, work / "before")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); free disk space or choose "
            "another folder"
        ) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _exchange(made: Path, target: Path, before: Path) -> None:
    """Put a folder in the place of another; if that fails, the other one stays."""
    existed = target.exists()
    try:
        if existed:
            os.rename(target, before)
        os.rename(made, target)
    except BaseException:
        if before.exists() and not target.exists():
            os.rename(before, target)
        raise
