import subprocess
import sys
import warnings

import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image

SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings that Python does not print by default."""


@pytest.fixture
def in_this_process(capfd, monkeypatch):
    """Run the program in the test's own process, where Python and NumPy have been started.

    A function (arguments, cwd) -> CompletedProcess. Its `stderr` ends with the warnings that the
    program would print in a process of its own. An exception that the program does not turn into
    an exit code reaches the test.
    """

    def run(*arguments, cwd=None):
        from npstyle.cli.main import main

        capfd.readouterr()
        with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            for category in SILENT:
                warnings.simplefilter("ignore", category)
            patch.setattr(sys, "argv", ["npstyle", *map(str, arguments)])
            if cwd is not None:
                patch.chdir(cwd)
            with pytest.raises(SystemExit) as end:
                main()
        out, err = capfd.readouterr()
        err += "".join(
            warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in noted
        )
        return subprocess.CompletedProcess(arguments, end.value.code or 0, out, err)

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A photo and a painting, which every test may read."""
    folder = tmp_path_factory.mktemp("pictures")
    save_image(folder / "photo.png", draw_photo(48, 64))
    save_image(folder / "painting.jpg", draw_painting(48, 64))
    return folder / "photo.png", folder / "painting.jpg"
