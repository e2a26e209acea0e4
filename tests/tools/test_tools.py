"""The measuring tools start and explain themselves; tools/README.md has their results."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_a_missing_picture_gets_one_sentence():
    given = ["--photos", "nowhere.jpg", "--paintings", "nowhere.jpg", "--judge", "builtin"]
    command = [sys.executable, str(TOOLS / "judge.py"), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: nowhere.jpg: no such picture; check the name\n"


PROGRAMS = sorted(path for path in TOOLS.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_help_shows_how_to_call_the_tool(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    if "PyTorch is not installed" in str(end.value.code):
        pytest.skip("PyTorch is not installed")
    assert not end.value.code
    assert f"tools/{path.name}" in capsys.readouterr().out


def test_the_readme_lists_every_tool():
    text = (TOOLS / "README.md").read_text(encoding="utf-8")
    for path in (*TOOLS.glob("*.py"), *TOOLS.glob("*.sh")):
        assert f"`{path.name}`" in text, path.name
