"""What happens around a run: full disks, names of files, files of the user's."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from npstyle.cli import main, run
from npstyle.cli.stylize import _file_name
from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import read_settings
from npstyle.images.write import save_image
from npstyle.run import recording
from npstyle.run.settings import NOT_FINITE

QUICK = ("--size", 32, "--iterations", 2, "--network", "builtin", "--device", "cpu")


@pytest.fixture
def folder(tmp_path):
    save_image(tmp_path / "photo.png", draw_photo(24, 32))
    save_image(tmp_path / "painting.png", draw_painting(24, 32))
    return tmp_path


def transfer(in_this_process, folder, *options):
    return in_this_process("transfer", "photo.png", "painting.png", *QUICK, *options, cwd=folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_log_on_a_full_disk_costs_neither_the_picture_nor_the_checkpoint(folder, in_this_process):
    (folder / "run.jsonl").symlink_to("/dev/full")
    found = transfer(
        in_this_process, folder, "-o", "o.png", "--log", "run.jsonl", "--checkpoint", "c.npz"
    )
    assert found.returncode == 1
    assert found.stderr == (
        "npstyle: run.jsonl: cannot be written (No space left on device); "
        "the log ends before step 1\n"
    )
    assert read_settings(folder / "o.png")["iterations_done"] == 2
    with np.load(folder / "c.npz") as file:
        assert json.loads(str(file["meta"]))["iteration"] == 2


def test_no_record_on_a_full_disk_costs_the_picture(folder, in_this_process, monkeypatch):
    def full(path, *_):
        raise InputError(f"{path}: cannot be written ({os.strerror(errno.ENOSPC)})")

    for module, name in (
        (recording, "save_image"),
        (recording, "_save_gif"),
        (run, "save_checkpoint"),
    ):
        monkeypatch.setattr(module, name, full)
    found = transfer(
        *(in_this_process, folder, "-o", "o.png", "--frames", "f", "--gif", "r.gif"),
        *("--checkpoint", "c.npz", "--quiet"),
    )
    assert found.returncode == 1
    assert [line.split(":")[1].strip() for line in found.stderr.splitlines()] == [
        "f/000001.png",
        "c.npz",
        "r.gif",
    ]
    assert read_settings(folder / "o.png")["iterations_done"] == 2


def test_a_checkpoint_that_fits_in_the_end_is_no_problem(folder, in_this_process, monkeypatch):
    save, calls = run.save_checkpoint, []

    def sometimes(path, *rest):
        calls.append(path)
        if len(calls) == 1:
            raise InputError(f"{path}: cannot be written")
        save(path, *rest)

    monkeypatch.setattr(run, "save_checkpoint", sometimes)
    options = ("-o", "o.png", "--checkpoint", "c.npz", "--save-every", 1, "--quiet")
    found = transfer(in_this_process, folder, *options)
    assert (found.returncode, found.stderr) == (0, "npstyle: c.npz: cannot be written\n")
    assert (folder / "c.npz").exists()


def test_a_loss_that_is_infinite_at_once_is_one_sentence_without_numpys_warnings(
    folder, in_this_process
):
    found = transfer(in_this_process, folder, "-o", "o.png", "--style-weight", 1e308)
    assert found.returncode == 2
    assert found.stderr == f"npstyle: {NOT_FINITE}\n"
    assert not (folder / "o.png").exists()


def test_a_default_output_replaces_no_file_and_any_name_of_a_photo_will_do(folder, in_this_process):
    photo = Path(os.fsdecode(b"caf\xe9.png"))
    (folder / "photo.png").rename(folder / photo)
    mine = folder / os.fsdecode(b"caf\xe9-painting.png")
    mine.write_bytes(b"mine")
    for number in (2, 3):
        found = in_this_process("transfer", photo, "painting.png", *QUICK, cwd=folder)
        assert found.returncode == 0, found.stderr
        output = mine.with_name(f"{mine.stem}-{number}.png")
        record = read_settings(output)
        assert record["photo"] == "caf\\xe9.png"
        assert str(folder) not in json.dumps(record)
    assert mine.read_bytes() == b"mine"
    assert in_this_process("info", output).returncode == 0


@pytest.mark.parametrize(("suffix", "side"), [("webp", 16384), ("jpg", 65501)])
def test_a_picture_too_large_for_its_format_is_refused_before_the_run(
    folder, in_this_process, monkeypatch, suffix, side
):
    monkeypatch.setattr(run.ProgressDisplay, "begin", lambda *_: pytest.fail("the run begins"))
    save_image(folder / "photo.png", draw_photo(16, 128))
    options = ("--network", "builtin", "--memory", "1000GB", "--size", side, "-o", f"o.{suffix}")
    given = ("transfer", "photo.png", "painting.png", *options, "--device", "cpu")
    found = in_this_process(*given, cwd=folder)
    assert found.returncode == 2
    assert f"npstyle: o.{suffix}: the picture has {side}x{round(side / 8)} pixels" in found.stderr


LONG = "n" * 252 + ".png"
REFUSED = {
    "photo as output": (("-o", "photo.png"), "--output photo.png: this file is to be read"),
    "photo as output with scales": (
        ("-o", "./photo.png", "--save-every", 1),
        "this file is to be read, and would be lost",
    ),
    "painting as plot": (("-o", "o.png", "--plot", "painting.png"), "--plot painting.png: this"),
    "start as output": (("-o", "start.png", "--init", "start.png"), "this file is to be read"),
    "mask as output": (("-o", "start.png", "--content-mask", "start.png"), "is to be read"),
    "one file for two": (("-o", "o.png", "--plot", "o.png"), "is also the file of --output"),
    "long output": (("-o", LONG), "no file can have this name (File name too long)"),
    "long log": (("-o", "o.png", "--log", LONG + ".jsonl"), "no file can have this name"),
    "long folder": (("-o", f"{LONG}/o.png"), "File name too long"),
    "long folder of frames": (("-o", "o.png", "--frames", LONG), "no file can have this name"),
    "frames of another run": (("-o", "o.png", "--frames", "film"), "--frames film: 000007.png is"),
    "two lists of paintings": (
        ("-o", "o.png", "--style", "photo.png", "--blend", 3, 7),
        "the order of the paintings counts",
    ),
    "missing start": (("-o", "o.png", "--init", "no.png"), "no.png"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_would_be_lost_or_cannot_be_are_refused_before_the_run(
    folder, in_this_process, case
):
    save_image(folder / "start.png", draw_photo(24, 32))
    (folder / "film").mkdir()
    (folder / "film" / "000007.png").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    options, says = REFUSED[case]
    found = transfer(in_this_process, folder, *options)
    assert found.returncode == 2, found.stderr
    assert says in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert "/" not in found.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("transfer", "n" * 200 + ".png", "n" * 100 + ".png"),
        ("transfer", "n" * 300 + ".png", "painting.png"),
        ("stylize", "n" * 245 + ".png", "--style", "12"),
        ("stylize", "photo.png", "--style", "7", "-o", "photo.png"),
        ("reconstruct", "n" * 250 + ".png"),
        ("texture", "n" * 249 + ".png"),
        ("demo", "."),
        ("demo", "n" * 300),
        ("figure", "content", "photo.png", "-o", "."),
        ("figure", "content", "photo.png", "-o", "n" * 300),
        ("stylize", "photo.png", "--style", "n" * 300 + ".npz"),
        ("stylize", "n" * 300, "--style", "7"),
    ],
    ids=lambda arguments: "-".join(arguments)[:30],
)
def test_every_command_refuses_names_that_cannot_be_and_keeps_the_users_files(
    folder, in_this_process, arguments
):
    for length in (100, 200, 245, 249, 250):
        (folder / ("n" * length + ".png")).write_bytes((folder / "photo.png").read_bytes())
    (folder / "content-conv1_2.png").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = in_this_process(*arguments, "-q", cwd=folder)
    assert found.returncode == 2, found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_demo_may_replace_its_own_pictures_only(tmp_path):
    for name, record in (("photo", main.DEMO_RECORD), ("styled", {"photo": "photo.png"})):
        save_image(tmp_path / f"{name}.png", draw_photo(6, 8), record)
    names = [tmp_path / f"{name}.png" for name in ("photo", "styled", "absent")]
    main._check_demo(names)
    save_image(tmp_path / "styled.png", draw_photo(6, 8), {"photo": "town.jpg"})
    with pytest.raises(InputError, match=r"styled\.png: is not from a demo"):
        main._check_demo(names)


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("7", "style7"),
        ("3:0.5,12:0.5", "style3_0.5_12_0.5"),
        ("folder/candy.npz", "candy"),
        ("candy.npz:3", "candy_3"),
        ("starry_night", "starry_night"),
    ],
)
def test_a_painted_photo_is_named_after_its_style(style, name):
    assert _file_name(style) == name
