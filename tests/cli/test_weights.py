"""`npstyle weights` as users run it: in a process of its own."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from npstyle.images.formula import draw_photo
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.networks.weights import find_weights
from tests.networks import foreign
from tests.networks.fast_neural_style import draw_tensors


def weights(*arguments, **environment):
    return npstyle("weights", *arguments, **environment)


def npstyle(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "npstyle.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )


def test_a_file_is_converted_and_verified(rng, tmp_path):
    source = foreign.write_torch_zip(
        tmp_path / "vgg.pth", foreign.torch_names(foreign.draw_values(rng))
    )
    run = weights("convert", source, tmp_path / "vgg.npz")
    assert run.returncode == 0, run.stderr
    assert "vgg19, 16 convolutions" in run.stdout
    assert "(RGB pixel - [123.675, 116.28, 103.53])" in run.stdout
    run = weights("verify", tmp_path / "vgg.npz")
    assert run.returncode == 0, run.stderr
    assert "all 16 mean activations agree" in run.stdout
    assert "vgg.pth (torchvision)" in run.stdout


def test_input_says_what_the_network_expects(rng, tmp_path):
    values = foreign.caffe_names(foreign.draw_values(rng))
    source = foreign.write_safetensors(tmp_path / "a.safetensors", values)
    run = weights("convert", source, tmp_path / "a.npz", "--input", "bgr")
    assert run.returncode == 0, run.stderr
    assert "input given by --input" in run.stdout
    assert "(BGR pixel - [103.939, 116.779, 123.68])" in run.stdout


def test_a_style_network_of_pytorchs_examples_is_converted_shown_and_used(rng, tmp_path):
    save_image(tmp_path / "photo.png", draw_photo(21, 30))
    tensors = draw_tensors(rng, running=True)
    source = foreign.write_torch_legacy(tmp_path / "candy.pth", tensors)
    run = weights("convert", source, tmp_path / "candy.npz")
    assert run.returncode == 0, run.stderr
    shown = " ".join(run.stdout.split())
    for words in (
        "network candy",
        "1 learned style ",
        "(RGB pixel - [0.0, 0.0, 0.0]) * [1.0, 1.0, 1.0]",
        "candy.pth (PyTorch's fast_neural_style; without 18 running means and variances",
    ):
        assert words in shown
    assert weights("info", tmp_path / "candy.npz").stdout == run.stdout
    output = tmp_path / "out.png"
    run = npstyle(
        "stylize", tmp_path / "photo.png", "--style", tmp_path / "candy.npz", "-o", output
    )
    assert run.returncode == 0, run.stderr
    assert load_image(output).shape == (21, 30, 3)


class Command:
    def __init__(self, line):
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


def altered(folder):
    """The built-in network with a changed input mean."""
    from dataclasses import replace

    from npstyle.networks.verify import with_check
    from npstyle.networks.weights import load_weights, save_weights

    own = with_check(load_weights(find_weights("builtin")))
    save_weights(folder / "a.npz", replace(own, mean=(1.0, 2.0, 3.0)))
    return ("verify", folder / "a.npz"), "was"


def hostile(folder):
    (folder / "a.pth").write_bytes(pickle.dumps(Command(f"touch {folder / 'MARK'}"), 2))
    return ("convert", folder / "a.pth", folder / "b.npz"), "system"


def incomplete(folder):
    tensors = draw_tensors(np.random.default_rng(0))
    del tensors["in3.weight"]
    source = foreign.write_safetensors(folder / "a.safetensors", tensors)
    return ("convert", source, folder / "b.npz"), "in3.weight"


def of_another_network(folder):
    tensors = {"layer1.0.conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}
    source = foreign.write_safetensors(folder / "a.safetensors", tensors)
    return ("convert", source, folder / "b.npz"), "but layer1.0.conv1.weight"


def unknown(folder):
    shutil.copy(find_weights("builtin"), folder / "a.npz")
    return ("convert", folder / "a.npz", folder / "b.npz"), "needs no conversion"


def offline(_):
    return ("fetch", "vgg16", "-q"), "6d6bbae143d832006294945121d1f1fc"


def undecided(folder):
    values = foreign.draw_values(np.random.default_rng(0))
    source = foreign.write_safetensors(folder / "a.safetensors", foreign.caffe_names(values))
    return ("convert", source, folder / "b.npz"), "--input bgr"


def another_network(_):
    return ("fetch", "vgg11"), "vgg11"


@pytest.mark.parametrize(
    "case",
    [
        altered,
        hostile,
        incomplete,
        of_another_network,
        undecided,
        unknown,
        offline,
        another_network,
    ],
)
def test_bad_weights_end_with_one_sentence_and_exit_code_2(tmp_path, case):
    arguments, culprit = case(tmp_path)
    before = sorted(os.listdir(tmp_path))
    own = {f"XDG_{name}_HOME": str(tmp_path) for name in ("DATA", "CACHE")}
    closed = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:1")
    run = weights(*arguments, **closed, **(own if case is offline else {}))
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert culprit in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    after = [name for name in os.listdir(tmp_path) if name != "npstyle"]
    assert sorted(after) == before
