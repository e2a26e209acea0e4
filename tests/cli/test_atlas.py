"""`npstyle atlas` as users run it."""

import sys
import time

import pytest

pytest.importorskip("jinja2", reason="the atlas needs the extra `atlas`")

from npstyle.cli.main import main
from tests.cli.program import npstyle


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "mine"], "mine: exists and is not an atlas; give the name of a new folder"),
        (["-o", "no/atlas"], "no/atlas: the folder no does not exist; create it first"),
        (["-o", "new", "photo.png"], "photo.png: an atlas needs a photo and a painting"),
        (["-o", "new", "photo.png", "painting.png"], "photo.png: "),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, in_this_process, arguments, sentence):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    run = in_this_process("atlas", *arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_missing_extra_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr(sys, "argv", ["npstyle", "atlas", "-o", str(tmp_path / "atlas")])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    assert "pip install 'npstyle[atlas]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_atlas_of_the_demo_pair_is_made_in_90_seconds_and_is_under_12_megabytes(tmp_path):
    start = time.perf_counter()
    run = npstyle("atlas", "-o", tmp_path / "atlas", "--network", "builtin")
    seconds = time.perf_counter() - start
    assert run.returncode == 0, run.stderr
    assert "Convolution" in run.stdout
    assert run.stdout.endswith("index.html\n")
    assert seconds < 90
    files = [path for path in (tmp_path / "atlas").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
