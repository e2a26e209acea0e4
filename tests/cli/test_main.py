"""The program as users run it: in a process of its own, except to refuse bad input."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image, read_settings
from npstyle.images.write import save_image
from npstyle.onepass.styles import TRAINED_STYLES


def npstyle(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "npstyle.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    save_image(folder / "photo.png", draw_photo(48, 64))
    save_image(folder / "painting.jpg", draw_painting(48, 64))
    return folder / "photo.png", folder / "painting.jpg"


def quick(pictures, *options):
    return (
        "transfer",
        *pictures,
        "--size",
        48,
        "--iterations",
        3,
        "--network",
        "builtin",
        "--device",
        "cpu",
        *options,
    )


def test_transfer_writes_the_picture_with_its_settings_and_info_prints_them(pictures, tmp_path):
    output = tmp_path / "out.png"
    run = npstyle(*quick(pictures, "-o", output, "--seed", 5, "--style-weight", 500))
    assert run.returncode == 0, run.stderr
    for word in (
        "builtin",
        "Winograd in 12 of 13 convolutions",
        "CPU",
        "48x36 from one-pass",
        "--init auto: one pass helps up to",
        "GB",
        "3/3",
        "content",
        "style",
        str(output),
    ):
        assert word in run.stdout
    assert load_image(output).shape == (36, 48, 3)
    settings = read_settings(output)
    assert settings["seed"] == 5
    assert settings["style_weight"] == 500
    assert settings["iterations_done"] == 3
    printed = npstyle("info", output)
    assert printed.returncode == 0
    assert all(name in printed.stdout for name in settings)


def test_the_default_output_is_named_after_both_pictures(pictures, tmp_path):
    run = npstyle(*quick(pictures, "--quiet"), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == run.stderr == ""
    assert (tmp_path / "photo-painting.png").exists()


def test_options_reach_the_settings(pictures, tmp_path):
    output = tmp_path / "out.jpg"
    options = {
        "--preset": "neural-style",
        "--init": "style",
        "--pooling": "avg",
        "--content-layers": "conv3_1:2",
        "--style-layers": "conv1_1,conv2_1:0.5",
        "--content-weight": "7",
        "--tv-weight": "0.01",
        "--optimizer": "adam",
        "--dtype": "float64",
        "--style-scale": "0.8",
        "--threads": "1",
        "--save-every": "1",
    }
    flat = [text for pair in options.items() for text in pair]
    run = npstyle(*quick(pictures, "-o", output, *flat))
    assert run.returncode == 0, run.stderr
    expected = {
        "preset": "neural-style",
        "init": "style",
        "pooling": "avg",
        "content_layers": {"conv3_1": 2.0},
        "style_layers": {"conv1_1": 1.0, "conv2_1": 0.5},
        "content_weight": 7.0,
        "style_weight": 100.0,
        "tv_weight": 0.01,
        "optimizer": "adam",
        "dtype": "float64",
        "style_scale": 0.8,
        "threads": 1,
    }
    settings = read_settings(output)
    assert {name: settings[name] for name in expected} == expected


def test_demo_writes_its_pictures(tmp_path):
    run = npstyle("demo", tmp_path / "demo", "--size", 48, "--iterations", 3)
    assert run.returncode == 0, run.stderr
    shapes = {p.name: load_image(p).shape for p in (tmp_path / "demo").iterdir()}
    names = ("photo", "painting", "styled", *TRAINED_STYLES)
    assert shapes == {f"{name}.png": (36, 48, 3) for name in names}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_the_best_picture_so_far(pictures, tmp_path, number):
    output = tmp_path / "out.png"
    process = subprocess.Popen(
        [
            *(sys.executable, "-u", "-m", "npstyle.cli", "transfer", *map(str, pictures)),
            *("--size", "96", "--iterations", "100000", "--network", "builtin", "-o", str(output)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("1/"):
            break
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "interrupted" in out
    assert err == ""
    assert read_settings(output)["stopped"] == "interrupted"
    assert np.abs(load_image(output) - load_image(pictures[0], 96)).mean() > 1
    assert os.listdir(tmp_path) == ["out.png"]


def test_save_every_writes_the_picture_before_the_end(pictures, tmp_path):
    output = tmp_path / "out.png"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "npstyle.cli", "transfer", *map(str, pictures), "--quiet"),
            *("--size", "48", "--iterations", "100000", "--network", "builtin"),
            *("--save-every", "2", "-o", str(output)),
        ]
    )
    try:
        for _ in range(300):
            if output.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert load_image(output).shape == (36, 48, 3)


def test_a_run_with_several_paintings_masks_and_records_writes_all_of_them(pictures, tmp_path):
    photo, painting = pictures
    mask = tmp_path / "mask.png"
    save_image(mask, np.full((6, 8, 3), 255.0))
    run = npstyle(
        *("transfer", photo, "--style", painting, photo, "--content-mask", mask, mask),
        *("--style-mask", mask, mask, "--color", "histogram", "--scales", "32,48"),
        *("--iterations", 4, "--network", "builtin", "--padding", "replicate", "-o", "out.png"),
        *("--frames", "frames", "--gif", "run.gif", "--frames-every", 2, "--log", "run.jsonl"),
        *("--checkpoint", "run.npz", "--init", "style-stats", "--pooling", "l2"),
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert "32x24 48x36" in run.stdout
    assert ("no GPU: CuPy is not installed" in run.stdout) == (find_spec("cupy") is None)
    assert "4 + 2 iterations" in run.stdout
    assert len(list((tmp_path / "frames").iterdir())) == 4
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 6
    with Image.open(tmp_path / "run.gif") as gif:
        assert gif.n_frames == 4
    settings = read_settings(tmp_path / "out.png")
    assert settings["painting"] == [painting.name, photo.name]
    assert settings["content_masks"] == [mask.name] * 2
    expected = {"color": "histogram", "padding": "replicate", "pooling": "l2", "scales": [32, 48]}
    assert {name: settings[name] for name in expected} == expected


def test_a_killed_run_resumes_and_loses_at_most_save_every_steps(pictures, tmp_path):
    options = ("--scales", "32,96", "--iterations", "2000", "--network", "builtin")
    options += ("--save-every", "3", "-o", "out.png")
    command = [sys.executable, "-u", "-m", "npstyle.cli", "transfer", *map(str, pictures)]
    process = subprocess.Popen(
        [*command, *options, "--checkpoint", "run.npz", "--log", "run.jsonl"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    log = tmp_path / "run.jsonl"
    try:
        for _ in range(600):
            if log.exists() and log.read_text().count("\n") >= 20:
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = log.read_text().count("\n")
    with np.load(tmp_path / "run.npz") as file:
        kept = json.loads(str(file["meta"]))["iteration"]
    assert steps - 3 <= kept <= steps + 1
    changed = npstyle(
        "transfer", *pictures, *options, "--seed", 1, "--resume", "run.npz", cwd=tmp_path
    )
    assert changed.returncode == 2
    assert "--seed was 0 and is 1 now" in changed.stderr
    process = subprocess.Popen(
        [*command, *options, "--resume", "run.npz"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    text = ""
    for line in process.stdout:
        text += line
        if line[0].isdigit():
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert f"resumed   after {kept} of 2000 steps at size 32" in text
    assert read_settings(tmp_path / "out.png")["iterations_done"] > kept


@pytest.mark.skipif(
    sys.platform != "linux", reason="the limit on file sizes that stands for a full disk is Linux's"
)
def test_a_full_scratch_disk_is_reported_and_the_last_checkpoint_is_complete(pictures, tmp_path):
    import resource

    options = ("--scales", "32,64", "--iterations", 4, "--network", "builtin", "--tile", 16)
    options += ("--content-layers", "conv1_1", "--scratch", tmp_path, "--device", "cpu")
    command = [sys.executable, "-m", "npstyle.cli", "transfer", *pictures, *options]
    run = subprocess.run(
        [*map(str, command), "--checkpoint", "run.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        # The content target fits at the first scale (49 kB), not at the second (197 kB).
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)),
    )
    assert run.returncode == 2, run.stderr
    assert f"--scratch {tmp_path}: content conv1_1 takes 0.2 MB there" in run.stderr
    assert "Traceback" not in run.stderr
    with np.load(tmp_path / "run.npz") as file:
        assert json.loads(str(file["meta"]))["iteration"] == 4
        assert file["image"].shape == (24, 32, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_reconstruct_and_texture_write_their_pictures(pictures, tmp_path):
    photo, painting = pictures
    quick = ("--iterations", 3, "--network", "builtin", "-q")
    run = npstyle("reconstruct", photo, "--layer", "conv2_2", "--size", 32, *quick, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    settings = read_settings(tmp_path / "photo-conv2_2.png")
    assert settings["content_layers"] == {"conv2_2": 1.0}
    assert settings["style_layers"] == {}
    layers = ("--layers", "conv1_1,conv2_1:2", "--size", "40x24")
    run = npstyle("texture", painting, *layers, *quick, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert load_image(tmp_path / "painting-texture.png").shape == (24, 40, 3)
    settings = read_settings(tmp_path / "painting-texture.png")
    assert settings["style_layers"] == {"conv1_1": 1.0, "conv2_1": 2.0}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_runs_the_good_jobs_and_reports_the_bad_ones(pictures, tmp_path, jobs):
    photo, painting = (str(path) for path in pictures)
    lines = ['network = "builtin"', "size = 32", "iterations = 2"]
    for k, source in enumerate((photo, "none.png", photo)):
        lines += ["[[job]]", f'photo = "{source}"', f'painting = "{painting}"']
        lines += [f'output = "{k}.png"']
    (tmp_path / "jobs.toml").write_text("\n".join(lines))
    run = npstyle("batch", tmp_path / "jobs.toml", "--jobs", jobs)
    assert run.returncode == 1
    assert "1/3" in run.stdout
    assert "3/3" in run.stdout
    assert "2/3  FAILED" in run.stderr
    assert "none.png" in run.stderr
    assert "1 of 3 jobs failed" in run.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0.png", "2.png", "jobs.toml"]


def wait_for_work(number, count):
    """Wait until this many processes of a program have computed for longer than they import."""
    program = psutil.Process(number)
    for _ in range(600):
        busy = 0
        for process in (program, *program.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                busy += process.cpu_times().user > 6
        if busy >= count:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_a_batch_and_keeps_the_pictures_so_far(pictures, tmp_path, jobs):
    photo, painting = (str(path) for path in pictures)
    lines = ['network = "builtin"', "size = 48", "iterations = 100000"]
    for k in range(4):
        lines += ["[[job]]", f'photo = "{photo}"', f'painting = "{painting}"']
        lines += [f'output = "{k}.png"']
    (tmp_path / "jobs.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "npstyle.cli", "batch", str(tmp_path / "jobs.toml")]
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_work(process.pid, jobs)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert "interrupted" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(f"{k}.png" for k in range(jobs)),
        "jobs.toml",
    ]


def test_figures_are_drawn_once(pictures, tmp_path):
    photo, painting = pictures
    quick = ("--size", 32, "--iterations", 1, "--network", "builtin", "-o", "figure")
    for command, cells in (
        (("content", photo), 5),
        (("style", painting), 5),
        (("grid", photo, painting, "--ratios", "1e-4", "1e-3"), 10),
    ):
        run = npstyle("figure", *command, *quick, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert f"{cells}/{cells}" in run.stdout
        assert "already exists" not in run.stdout
        again = npstyle("figure", *command, *quick, cwd=tmp_path)
        assert again.stdout.count("already exists") == cells
    assert load_image(tmp_path / "figure" / "sheet.png").shape[1] > 2 * 32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_figure_with_the_signals_exit_code(
    pictures, tmp_path, in_this_process, monkeypatch, number
):
    monkeypatch.setattr("npstyle.run.figures.run_cell", lambda *_: signal.raise_signal(number))
    options = ("--size", 32, "--network", "builtin", "-o", "figure", "-q")
    run = in_this_process("figure", "content", pictures[0], *options, cwd=tmp_path)
    assert run.returncode == 128 + number
    assert run.stderr == "npstyle: interrupted; the same command resumes at content-conv1_2\n"


def test_weights_are_normalised_and_printed_as_a_table(pictures, tmp_path):
    normalized = tmp_path / "n.npz"
    run = npstyle("weights", "normalize", "builtin", normalized, *pictures)
    assert run.returncode == 0, run.stderr
    assert "scaled originals to" in run.stdout
    table = npstyle("weights", "info", normalized, "--size", "64x48")
    assert table.returncode == 0, table.stderr
    assert "mean activation 1" in table.stdout
    assert "48, 64, 16" in table.stdout
    assert "million" in table.stdout or "billion" in table.stdout


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


def test_every_command_has_a_help_text(in_this_process):
    for command in (
        *(("transfer",), ("reconstruct",), ("texture",), ("demo",), ("info",)),
        *(("figure", "content"), ("figure", "style"), ("figure", "grid"), ("batch",)),
        ("weights", "normalize"),
        ("weights", "convert"),
    ):
        run = in_this_process(*command, "--help")
        assert run.returncode == 0
        assert "Usage" in run.stdout
    run = npstyle("--help")
    assert run.returncode == 0
    assert "Usage" in run.stdout
    assert "npstyle transfer" in run.stdout


def test_the_version_is_printed():
    from npstyle import __version__

    assert npstyle("--version").stdout == f"npstyle {__version__}\n"


def test_a_run_in_tiles_prints_its_cost_and_makes_the_same_picture(pictures, tmp_path):
    whole = npstyle(*quick(pictures, "-o", "whole.png"), cwd=tmp_path)
    tiled = npstyle(*quick(pictures, "-o", "tiled.png", "--tile", 16), cwd=tmp_path)
    assert whole.returncode == tiled.returncode == 0, tiled.stderr
    assert "tiles " not in whole.stdout
    assert re.search(r"tiles +48x36 in tiles of 16 pixels: exact, \d+\.\d\d times", tiled.stdout)
    first, second = (load_image(tmp_path / f"{name}.png") for name in ("whole", "tiled"))
    assert np.abs(first - second).max() <= 2


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
