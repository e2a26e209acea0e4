"""Bad input to `npstyle train` ends with one sentence, and writes nothing."""

from pathlib import Path

import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from tests.cli.train.training import beside, npstyle, training


def bad_inputs(folder, pictures):
    """Bad command lines, each with a text that the error message must contain."""
    output, photos = folder / "new.npz", pictures / "photos"
    text = folder / "text.jpg"

    def train(*options, **changes):
        return training(pictures, output, *options, **changes)

    def resume(*options, painting=None, name="old.npz"):
        return training(
            pictures, folder / name, "--steps", 5, *options, "--resume", painting=painting
        )

    return {
        "missing painting": (train(painting=folder / "no.jpg"), "no.jpg: no such picture"),
        "text as painting": (train(painting=text), "text.jpg"),
        "cut painting": (train("--steps", 1, painting=folder / "cut.jpg"), "cut.jpg"),
        "narrow painting": (train(painting=folder / "narrow.png"), "narrow.png: 64x1 pixels"),
        "photos not given": (("train", pictures / "painting.jpg"), "Missing option '--photos'"),
        "photos missing": (train(photos=folder / "no"), "there is no such folder"),
        "photos empty": (train(photos=folder / "empty"), "has 0 photos"),
        "photos few": (train(photos=folder / "few"), "has 1 photos"),
        "photos small": (train("--crop", 128), "has 0 photos of 128x128"),
        "crop": (train("--crop", 50), "--crop 50"),
        "steps": (train("--steps", 0), "--steps 0"),
        "width": (train("--width", 0), "--width 0"),
        "width too large": (train("--width", 10**6), "--width 1000000: the weights and their"),
        "width of words": (train("--width", "wide"), "--width wide: give a whole number"),
        "minutes and steps": (train("--minutes", 1, "--steps", 2), "--minutes and --steps"),
        "resume nothing": (train("--resume"), "--resume: there is no"),
        "resume damaged": (resume(name="damaged.npz"), "damaged.checkpoint.npz: is not a"),
        "resume painting": (resume(painting=photos / "0.jpg"), "another painting"),
        "resume width": (resume("--width", 4), "--width 4"),
        "resume content": (resume("--content-weight", 1), "--content-weight 1"),
        "resume shorter": (resume("--steps", 1), "--steps 1: the training has taken"),
        "suffix": (training(pictures, folder / "o.png"), "o.png"),
        "folder": (training(pictures, folder / "no" / "o.npz"), "does not exist"),
        "unfinished": (training(pictures, folder / "old.npz"), "add --resume"),
        "preview": (train("--preview", folder / "tiny.png"), "--preview"),
        "preview text": (train("--preview", text), "text.jpg"),
        "device": (train("--device", "gpu"), "--device gpu"),
        "memory": (train("--memory", "1MB"), "--crop 64: the training needs"),
        "start": (train("--start", "nosuch"), "--start nosuch: there is no such style or file"),
        "style as judge": (train("--network", "any_style"), "is a style network"),
        "style damaged": (("stylize", photos / "0.jpg", "--style", folder / "b.npz"), "b.npz"),
        "style foreign": (
            ("stylize", photos / "0.jpg", "--style", folder / "old.checkpoint.npz"),
            "old.checkpoint.npz: ",
        ),
        "style of a loss": (
            ("stylize", photos / "0.jpg", "--style", "builtin.npz"),
            "is not a style network",
        ),
    }


@pytest.fixture(scope="module")
def bad(pictures, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "few").mkdir()
    save_image(folder / "few" / "0.png", draw_photo(64, 64))
    save_image(folder / "tiny.png", draw_photo(8, 8))
    save_image(folder / "narrow.png", draw_painting(1, 100))
    (folder / "text.jpg").write_text("no picture")
    body = (pictures / "painting.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(body[: len(body) * 2 // 3])
    output, _ = trained
    checkpoint = beside(output, ".checkpoint.npz").read_bytes()
    (folder / "old.checkpoint.npz").write_bytes(checkpoint)
    (folder / "damaged.checkpoint.npz").write_bytes(checkpoint[:-100])
    (folder / "b.npz").write_bytes(output.read_bytes()[:-100])
    return folder


def snapshot(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("case", bad_inputs(Path(), Path()))
def test_bad_input_ends_with_one_sentence_and_exit_code_2(pictures, bad, case, monkeypatch):
    monkeypatch.chdir(bad)
    arguments, says = bad_inputs(bad, pictures)[case]
    before = snapshot(bad)
    run = npstyle(*arguments)
    assert run.code == 2, run.out + run.err
    assert says in run.err
    lines = [line for line in run.err.splitlines() if not line.startswith("skipped   ")]
    assert len(lines) == 1
    assert lines[0].startswith("npstyle: ")
    assert "1/" not in run.out
    assert snapshot(bad) == before
