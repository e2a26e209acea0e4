import os

import pytest

from npstyle.atlas.folder import MARKER, check_folder, folder_whole
from npstyle.errors import InputError


def write(folder, text):
    with folder_whole(folder) as made:
        (made / "index.html").write_text(text)


def test_an_atlas_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "atlas"
    write(folder, "old")
    (folder / "left.html").write_text("a page of the old one")
    write(folder, "new")
    assert (folder / "index.html").read_text() == "new"
    assert sorted(p.name for p in folder.iterdir()) == [MARKER, "index.html"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_build_leaves_the_old_atlas_and_nothing_else(tmp_path, error):
    folder = tmp_path / "atlas"
    write(folder, "old")

    def interrupted():
        with folder_whole(folder) as made:
            (made / "index.html").write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert (folder / "index.html").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_if_the_new_one_cannot_take_its_place_the_old_one_stays(tmp_path, monkeypatch):
    folder = tmp_path / "atlas"
    write(folder, "old")
    rename, calls = os.rename, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(InputError, match=r"atlas: cannot be written \(No space left on device\)"):
        write(folder, "new")
    assert (folder / "index.html").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_is_not_an_atlas_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"exists and is not an atlas; give the name of a new"):
        check_folder(tmp_path)


def test_a_file_and_a_missing_parent_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(InputError, match=r"no: *does|no does not exist; create it first"):
        check_folder(tmp_path / "no" / "atlas")


def test_a_folder_without_write_access_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written to; choose another"):
        check_folder(tmp_path / "atlas")


def test_an_empty_folder_and_an_atlas_are_accepted(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    check_folder(empty)
    write(empty, "new")
    check_folder(empty)
