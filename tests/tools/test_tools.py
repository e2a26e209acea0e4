"""The measuring tools' manners; what they measure is in the README."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_a_missing_picture_is_told_in_one_sentence():
    given = ["--photos", "nowhere.jpg", "--paintings", "nowhere.jpg", "--judge", "builtin"]
    command = [sys.executable, str(TOOLS / "judge.py"), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: nowhere.jpg: there is no such picture; check the name\n"
