"""Standard output and standard error, whose readers may leave while a run goes on.

`npstyle ... | head -1` closes the pipe after a line, a closed terminal takes no more text, and a
disk may be full. None of them shall cost the picture of a run, which is written to another file. So
text that cannot be written is dropped. `Dropped.problem` tells what was lost where somebody wanted
it.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LEFT = (errno.EPIPE, errno.EIO)
"""The reader of a pipe has left, or the terminal was closed."""


class Dropped(io.FileIO):
    """A file descriptor that drops what cannot be written.

    Attributes
    ----------
    problem : str
        Why text was dropped; empty if none was, or if its reader has left.
    """

    problem = ""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write bytes, or drop them."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in LEFT:
                self.problem = error.strerror or str(error)
            return memoryview(data).nbytes


@contextmanager
def lasting_streams() -> Iterator[Dropped | None]:
    """Replace both streams by ones that last; yields standard output's file.

    They also print every text: characters that the encoding lacks, and file names that are no text,
    are printed as backslashes and numbers.
    """
    before = sys.stdout, sys.stderr
    out, sys.stdout = _lasting(before[0], 1)
    _, sys.stderr = _lasting(before[1], 2)
    try:
        yield out
    finally:
        for stream, former in zip((sys.stdout, sys.stderr), before, strict=True):
            stream.flush()
            if former is None:
                stream.close()
        sys.stdout, sys.stderr = before


def _lasting(stream: TextIO | None, descriptor: int) -> tuple[Dropped | None, TextIO]:
    """Return a stream like this one that lasts; another than the process's own stays as it is.

    So does a console of Windows, which needs Python's own file. A stream that was closed before the
    program began is None, and what is printed to it is dropped.
    """
    if stream is None:
        return None, open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper) or not _is_own(stream, descriptor):
        return None, stream
    stream.flush()
    file = Dropped(descriptor, "w", closefd=False)
    lasting = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    return file, lasting


def _is_own(stream: TextIO, descriptor: int) -> bool:
    """Return whether a stream writes to this descriptor, and not by a console of Windows."""
    try:
        return stream.fileno() == descriptor and not (sys.platform == "win32" and stream.isatty())
    except OSError:  # a stream in memory has no descriptor
        return False
