"""Bad input and errors of the machine end with one sentence and exit code 2."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.program import quick


def bad_inputs(folder):
    """Bad command lines, each with a text that the error message must contain."""
    photo, painting = folder / "photo.png", folder / "painting.jpg"
    text, cut, damaged = (folder / name for name in ("text.jpg", "cut.png", "damaged.npz"))
    run = ("transfer", photo, painting, "--size", 48, "--iterations", 1, "-o", folder / "o.png")
    shallow = ("--content-layers", "conv1_1", "--style-layers", "conv1_1")
    return {
        "missing photo": (("transfer", folder / "no.jpg", painting), "no.jpg"),
        "text as photo": (("transfer", text, painting), "text.jpg"),
        "cut photo": (("transfer", cut, painting), "cut.png"),
        "folder as painting": (("transfer", photo, folder), str(folder)),
        "output suffix": (("transfer", photo, painting, "-o", folder / "o.xyz"), ".xyz"),
        "output folder": (("transfer", photo, painting, "-o", folder / "no" / "o.png"), "no"),
        "missing network": ((*run, "--network", "nowhere.npz"), "nowhere.npz"),
        "picture as network": ((*run, "--network", photo), "photo.png"),
        "damaged network": ((*run, "--network", damaged), "damaged.npz"),
        "unknown layer": ((*run, "--style-layers", "conv9_1"), "conv9_1"),
        "layer weight": ((*run, "--style-layers", "conv1_1:x"), "conv1_1:x"),
        "negative weight": ((*run, "--content-weight", -1), "--content-weight"),
        "too small": ((*run, "--size", 8), "--size"),
        "too large": ((*run, "--size", 60000), "60000"),
        "too small for one pass": (
            (*run, *("--size", 20, "--init", "one-pass"), *shallow),
            "needs 16 pixels",
        ),
        "missing start": ((*run, "--init", folder / "no.png"), "no.png"),
        "no such device": ((*run, "--device", "gpu"), "--device gpu"),
        "tensor cores of a CPU": (
            (*run, "--device", "cpu", "--precision", "tf32"),
            "--precision tf32: is for a GPU's tensor cores; on the CPU leave it out",
        ),
        "no such GPU": ((*run, "--device", "cuda:7777"), "--device cuda:7777: "),
        "no threads": ((*run, "--threads", 0), "--threads"),
        "no iterations": ((*run, "--iterations", 0), "--iterations"),
        "preset": ((*run, "--preset", "dali"), "dali"),
        "no painting": (("transfer", photo), "no painting"),
        "blend of words": ((*run, "--blend", "a", "b"), "--blend a b"),
        "too many blends": ((*run, "--blend", "1", "2"), "--blend: 2 given"),
        "blend of zero": ((*run, "--blend", "0"), "--blend"),
        "masks missing": ((*run, "--content-mask", photo, photo), "--content-mask: 2 given"),
        "style mask without content mask": ((*run, "--style-mask", photo), "--style-mask: needs"),
        "text as mask": ((*run, "--content-mask", text), "text.jpg"),
        "adam step for lbfgs": ((*run, "--adam-step", 3), "--adam-step: has no effect"),
        "adam step": ((*run, "--optimizer", "adam", "--adam-step", 0), "--adam-step 0"),
        "falling scales": ((*run[:3], "--scales", "64,32"), "--scales 64,32"),
        "scales of words": ((*run[:3], "--scales", "big"), "--scales big"),
        "scales and size": ((*run, "--scales", "24,32"), "--scales 24,32: ends at 32"),
        "frames-every without frames": ((*run, "--frames-every", 3), "--frames-every"),
        "frames nowhere": ((*run, "--frames", folder / "no" / "f"), "does not exist"),
        "log suffix": ((*run, "--log", folder / "run.txt"), "run.txt"),
        "missing checkpoint": ((*run, "--resume", folder / "no.npz"), "no.npz"),
        "picture as checkpoint": ((*run, "--resume", photo), "photo.png"),
        "missing photo with a checkpoint": (
            ("transfer", folder / "no.jpg", painting, "--checkpoint", folder / "c.npz"),
            "no.jpg",
        ),
        "checkpoint nowhere": ((*run, "--checkpoint", folder / "no" / "c.npz"), "c.npz"),
        "layer to reconstruct": (("reconstruct", photo, "--layer", "conv9_9"), "conv9_9"),
        "text as list of jobs": (("batch", text), "text.jpg"),
        "missing list of jobs": (("batch", folder / "no.toml"), "no.toml"),
        "figure of a missing photo": (("figure", "content", folder / "no.png"), "no.png"),
        "figure too small": (("figure", "content", photo, "--size", 4), "is too small for layer"),
        "figure in a file": (("figure", "content", photo, "-o", text), "text.jpg"),
        "ratios": (("figure", "grid", photo, painting, "--ratios", "0"), "--ratios 0"),
        "text among the pictures to normalize by": (
            ("weights", "normalize", "builtin", folder / "n.npz", text),
            "text.jpg",
        ),
        "table for a picture that is too small": (
            ("weights", "info", "builtin", "--size", "4"),
            "too small",
        ),
        "texture size": (("texture", painting, "--size", "3y4"), "3y4"),
        "size is a word": ((*run, "--size", "big"), "--size"),
        "info without settings": (("info", folder / "plain.png"), "plain.png"),
        "info of a missing picture": (("info", folder / "no.png"), "no.png"),
        "convert a picture": (("weights", "convert", photo, folder / "w.npz"), "photo.png"),
        "weights info": (("weights", "info", damaged), "damaged.npz"),
        "no network to fetch": (("weights", "fetch"), "Choose from: vgg16, vgg19; see npstyle"),
        "demo too small": (("demo", folder / "demo", "--size", 4), "is too small for layer"),
        "demo without a network": (("demo", folder / "demo", "--network", "nowhere"), "nowhere"),
        "demo in a file": (("demo", text), "text.jpg"),
    }


CASES = sorted(bad_inputs(Path()))


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_one_sentence_and_exit_code_2(
    pictures, tmp_path, in_this_process, case
):
    for path in pictures:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:300])
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 nothing")
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    arguments, culprit = bad_inputs(tmp_path)[case]
    before = sorted(os.listdir(tmp_path))
    run = in_this_process(*arguments, cwd=tmp_path)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert culprit in run.stderr.replace("\n", "")
    assert len(run.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tile", "some"), "--tile some: give auto, off, or"),
        (("--memory", "much"), "--memory much: give a size such as 4GB"),
        (("--scratch", "no/folder"), "--scratch no/folder: no file can be created there"),
        (("--cluster", "here"), "--cluster here: is neither host:port nor"),
        (("--memory", "50MB"), "allow that much"),
    ],
)
def test_a_bad_memory_limit_ends_with_one_sentence(
    pictures, tmp_path, in_this_process, options, says
):
    run = in_this_process(*quick(pictures, *options), cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert says in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_is_one_sentence_and_exit_code_2(
    tmp_path, in_this_process, monkeypatch
):
    def fail(path):
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr("npstyle.images.read.read_settings", fail)
    run = in_this_process("info", tmp_path / "out.png")
    assert run.returncode == 2
    assert run.stderr == (
        "npstyle: memory ran out (Unable to allocate 1 TiB); free some, or use smaller sizes\n"
    )


def test_a_folder_that_may_not_be_read_is_one_sentence_and_exit_code_2(
    tmp_path, in_this_process, monkeypatch
):
    def fail(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("npstyle.images.read.read_settings", fail)
    run = in_this_process("info", "secret/out.png", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == (
        "npstyle: secret/out.png: may not be read (Permission denied); change its permissions, or "
        "those of its folder\n"
    )
