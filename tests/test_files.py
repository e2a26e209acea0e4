import errno
import os
import stat
from pathlib import Path

import pytest

from npstyle.errors import InputError
from npstyle.files import check_destination, check_name, written_whole


def test_a_file_appears_when_it_is_complete_with_normal_permissions(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail():
        with written_whole(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    named = pytest.raises(InputError, match=r"a\.txt: cannot be written \(No space")
    with named, written_whole(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.xyz", r"\.xyz.*\.png"), ("a", "without a suffix"), ("no/a.png", "does not exist")],
)
def test_an_invalid_destination_is_refused(tmp_path, name, says):
    with pytest.raises(InputError, match=says):
        check_destination(tmp_path / name, (".png",))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_destination(tmp_path / "folder.png", (".png",))


def test_a_name_in_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", denied)
    with pytest.raises(InputError, match=r"out\.png: the folder .* may not be read"):
        check_name(tmp_path / "out.png")
