"""`npstyle transfer` as users run it: what it writes and prints."""

import re
from importlib.util import find_spec

import numpy as np
from PIL import Image

from npstyle.images.read import load_image, read_settings
from npstyle.images.write import save_image
from tests.cli.program import npstyle, quick


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


def test_the_default_output_is_named_after_both_pictures(pictures, tmp_path, in_this_process):
    run = in_this_process(*quick(pictures, "--quiet"), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == run.stderr == ""
    assert (tmp_path / "photo-painting.png").exists()


def test_options_reach_the_settings(pictures, tmp_path, in_this_process):
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
    run = in_this_process(*quick(pictures, "-o", output, *flat))
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


def test_a_run_in_tiles_prints_its_cost_and_makes_the_same_picture(
    pictures, tmp_path, in_this_process
):
    whole = in_this_process(*quick(pictures, "-o", "whole.png"), cwd=tmp_path)
    tiled = in_this_process(*quick(pictures, "-o", "tiled.png", "--tile", 16), cwd=tmp_path)
    assert whole.returncode == tiled.returncode == 0, tiled.stderr
    assert "tiles " not in whole.stdout
    assert re.search(r"tiles +48x36 in tiles of 16 pixels: exact, \d+\.\d\d times", tiled.stdout)
    first, second = (load_image(tmp_path / f"{name}.png") for name in ("whole", "tiled"))
    assert np.abs(first - second).max() <= 2
