"""A sample of the fuzzing of weights files; tools/README.md has the result of all of it."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
from fuzz_weights import FORMATS, fuzz

NEW = [name for name in FORMATS if name.startswith(("keras ", "numpy", "bfloat16", "checkpoint"))]


@pytest.mark.parametrize("name", NEW)
def test_mutated_files_give_weights_or_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # where a file that crashes a reader is kept
    found = fuzz(name, 15, seed=1)
    assert found["files"] == 15
    assert found["refused"] > 0
