"""The examples of the guide that look inside a network and use an objective of one's own."""

import re
import subprocess
import sys
from pathlib import Path

import npstyle
from npstyle.images.formula import draw_painting, draw_photo

GUIDE = Path(__file__).resolve().parents[1] / "npstyle" / "README.md"


def test_the_examples_print_every_layer_a_passed_check_and_write_a_picture(tmp_path):
    npstyle.save_image(tmp_path / "photo.jpg", draw_photo(72, 96))
    npstyle.save_image(tmp_path / "painting.jpg", draw_painting(72, 96))
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- (?:layers|objective) -->\n```python\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    layers = [
        line.split()[0] for line in lines[: lines.index(next(s for s in lines if "what" in s))]
    ]
    assert layers[0] == "relu3_1"
    assert layers[-1] == "image"
    assert "ok" in run.stdout
    assert "WRONG" not in run.stdout
    assert (tmp_path / "mine.png").is_file()
