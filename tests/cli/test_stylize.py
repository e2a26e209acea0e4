"""`npstyle stylize` as users run it: in the tests' process, except where streams are replaced."""

import json
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image, read_settings
from npstyle.images.write import save_image
from tests.cli.program import start, wait_for


def stylize(*arguments, cwd=None, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "npstyle.cli", "stylize", *map(str, arguments)],
        capture_output=True,
        cwd=cwd,
        input=stdin,
        timeout=300,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "photos").mkdir()
    for k in range(2):
        save_image(folder / "photos" / f"photo{k}.png", draw_photo(48, 64 + k))
    save_image(folder / "painting.jpg", draw_painting(48, 64))
    return folder


def test_a_photo_is_painted_and_the_picture_records_how(pictures, tmp_path, in_this_process):
    photo, output = pictures / "photos" / "photo0.png", tmp_path / "out.png"
    run = in_this_process(
        "stylize", photo, "--painting", pictures / "painting.jpg", "-o", output, "--strength", "0.7"
    )
    assert run.returncode == 0, run.stderr
    text = run.stdout
    for word in ("any_style", "64x48", "GB", f"wrote {output}"):
        assert word in text
    assert load_image(output).shape == (48, 64, 3)
    assert read_settings(output)["strength"] == 0.7


def test_a_folder_is_painted_into_a_folder(pictures, tmp_path, in_this_process):
    run = in_this_process(
        "stylize", pictures / "photos", "--style", "3:0.5,12:0.5", "-o", tmp_path / "new"
    )
    assert run.returncode == 0, run.stderr
    names = [path.name for path in sorted((tmp_path / "new").iterdir())]
    assert names == [f"photo{k}-style3_0.5_12_0.5.png" for k in range(2)]
    assert "2/2" in run.stdout


def test_a_photo_that_fails_does_not_stop_the_others(pictures, tmp_path, in_this_process):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no picture")
    save_image(folder / "b.png", draw_photo(20, 20))
    run = in_this_process("stylize", folder, "--style", "7", "-o", tmp_path / "new")
    assert run.returncode == 1
    assert "1/2  FAILED" in run.stderr
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["b-style7.png"]


def test_streams_take_the_place_of_files(pictures, tmp_path):
    photo = (pictures / "photos" / "photo0.png").read_bytes()
    run = stylize("-", "--style", "7", "-o", "-", stdin=photo)
    assert run.returncode == 0, run.stderr
    (tmp_path / "out.png").write_bytes(run.stdout)
    assert load_image(tmp_path / "out.png").shape == (48, 64, 3)


def test_a_photo_by_standard_input_is_called_so_in_errors():
    for photo, says in (
        (b"", b"npstyle: -: nothing comes by standard input; give the name of a photo\n"),
        (b"no picture", b"npstyle: standard input: is not a picture"),
    ):
        run = stylize("-", "--style", "7", "-o", "-", stdin=photo)
        assert run.returncode == 2
        assert run.stderr.startswith(says)


@pytest.mark.skipif(sys.platform == "win32", reason="the shell is that of Unix")
def test_a_closed_standard_output_takes_no_picture(pictures):
    program = [sys.executable, "-m", "npstyle.cli"]
    photo = pictures / "photos" / "photo0.png"
    command = shlex.join([*program, "stylize", str(photo), "--style", "7", "-o", "-"])
    run = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == "npstyle: --output -: standard output is closed; give a file\n"


def test_a_photo_too_small_is_named_among_others(pictures, tmp_path, in_this_process):
    tiny = tmp_path / "tiny.png"
    save_image(tiny, draw_photo(8, 8))
    photo = pictures / "photos" / "photo0.png"
    run = in_this_process("stylize", tiny, photo, "--style", "7", "-o", tmp_path / "painted")
    assert run.returncode == 1
    assert f"FAILED  {tiny}: a photo of 8x8 pixels is too small" in run.stderr


def test_two_photos_of_one_name_leave_no_folder(pictures, tmp_path, in_this_process):
    photo = pictures / "photos" / "photo0.png"
    run = in_this_process("stylize", photo, photo, "--style", "7", "-o", "new", cwd=tmp_path)
    assert run.returncode == 2
    assert "two photos would have this name" in run.stderr
    assert not list(tmp_path.iterdir())


def test_json_has_a_line_for_each_picture(pictures, tmp_path, in_this_process):
    run = in_this_process("stylize", pictures / "photos", "--style", "7", "-o", tmp_path, "--json")
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["width"] for line in lines] == [64, 65]
    assert all(line["seconds"] > 0 and line["style"] == "7" for line in lines)


def test_the_sheet_shows_all_learned_styles(pictures, tmp_path, in_this_process):
    photo = pictures / "photos" / "photo0.png"
    run = in_this_process("stylize", photo, "--sheet", "--size", "24", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    height, width, _ = load_image(tmp_path / "photo0-styles.png").shape
    assert width > 6 * 24
    assert height > 5 * 18


def test_a_refinement_says_how_far_the_loss_fell(pictures, tmp_path, in_this_process):
    photo, output = pictures / "photos" / "photo0.png", tmp_path / "out.png"
    options = ("--painting", pictures / "painting.jpg", "--refine", "3", "--network", "builtin")
    run = in_this_process("stylize", photo, *options, "-o", output)
    assert run.returncode == 0, run.stderr
    text, record = run.stdout, read_settings(output)
    assert record["refine"] == record["iterations_done"] == 3
    assert record["loss"] < record["loss_before"]
    assert f"loss {record['loss_before']:.2e} -> {record['loss']:.2e} in 3 steps\n" in text
    for words in ("preset gatys, network builtin", "3 steps of L-BFGS on the style code", "3/3  "):
        assert words in text


def test_json_of_a_refinement_has_the_loss_before_and_after(pictures, tmp_path, in_this_process):
    options = ("--painting", pictures / "painting.jpg", "--refine", "2", "--refine-all")
    run = in_this_process(
        "stylize", pictures / "photos", *options, "--network", "builtin", "-o", tmp_path, "--json"
    )
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == 2
    assert all(line["refine_all"] and line["loss"] < line["loss_before"] for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_the_best_picture_of_a_refinement(pictures, tmp_path, number):
    photo, output = pictures / "photos" / "photo0.png", tmp_path / "out.png"
    options = ("--painting", pictures / "painting.jpg", "--refine", "5000", "-o", output)
    process = start("stylize", photo, *options, "--network", "builtin")
    wait_for(process, "1/")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "interrupted, kept the best picture" in out
    assert err == "npstyle: interrupted\n"
    record = read_settings(output)
    assert record["stopped"] == "interrupted"
    assert record["loss"] < record["loss_before"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "no style"),
        (("--style", "99"), "there is no style 99"),
        (("--style", "builtin"), "is not a style network"),
        (("--painting", "missing.jpg"), "no such picture"),
        (("--style", "7", "-o", "out.gif"), "cannot be written"),
        (("--style", "7", "--size", "10"), "too small"),
        (("--style", "7", "--strength", "2"), "--strength 2"),
        (("--sheet", "--painting", "x.jpg"), "--sheet"),
        (("--sheet", "--refine", "3"), "--sheet"),
        (("--sheet", "--style", "3:0.5,4"), "--style 3:0.5,4: --sheet shows all styles"),
        (("--sheet", "--json"), "--json: --sheet has one picture of many"),
        (("--sheet", "--size", "4000", "-o", "sheet.webp"), "webp allows 16383 on a side"),
        (("--style", "7", "--refine", "3"), "--refine: a learned style has no painting"),
        (("--painting", "PAINTING", "--refine", "few"), "--refine few: give a whole number"),
        (("--painting", "PAINTING", "--refine-all"), "--refine-all: has an effect only"),
        (("--painting", "PAINTING", "--refine", "3", "--network", "any_style"), "any_style"),
        (("--painting", "PAINTING", "--refine", "3", "--preset", "x"), "--preset x"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_exit_code_2(
    pictures, tmp_path, in_this_process, options, says
):
    options = [str(pictures / "painting.jpg") if text == "PAINTING" else text for text in options]
    photo = pictures / "photos" / "photo0.png"
    run = in_this_process("stylize", photo, *options, cwd=tmp_path)
    text = run.stderr
    assert run.returncode == 2, text
    assert says in text
    assert len(text.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_scipy_is_not_waited_for(pictures):
    code = (
        "import sys, npstyle.run.stylize, npstyle.cli.stylize\n"
        "print(*[name for name in ('scipy', 'onnx', 'h5py') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_an_ignored_profile_is_one_line_printed_once(in_this_process, tmp_path):
    photo = tmp_path / "photo.png"
    image = Image.fromarray(draw_photo(40, 50).astype(np.uint8))
    image.save(photo, icc_profile=b"not a profile")
    output = tmp_path / "out.png"
    done = in_this_process("stylize", photo, "--painting", photo, "-o", output, "-q")
    assert done.stderr.count("its colour profile is ignored") == 1, done.stderr
    assert f"npstyle: warning: {photo}: its colour profile is ignored" in done.stderr
    assert "InputWarning" not in done.stderr


def test_a_picture_too_large_for_its_format_is_refused_before_it_is_painted(
    in_this_process, tmp_path
):
    photo = tmp_path / "photo.png"
    save_image(photo, draw_photo(16, 40))
    output = tmp_path / "out.webp"
    given = (photo, "--style", "7", "--size", 16400, "--memory", "1000GB", "-o", output)
    done = in_this_process("stylize", *given)
    assert done.returncode == 2
    assert done.stderr.startswith(f"npstyle: {output}: the picture has 16400x6560 pixels")
