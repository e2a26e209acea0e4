import json

import numpy as np
import pytest
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image
from npstyle.run.recording import Outputs, Recording
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer


def run(outputs, **settings):
    recording = Recording(outputs, 9)
    recording.check()
    done = transfer(
        draw_photo(36, 48),
        draw_painting(36, 48),
        "builtin",
        Settings(**({"size": 48, "iterations": 9} | settings)),
        callback=recording.update,
    )
    recording.close()
    return recording, done


def test_frames_are_numbered_by_iteration_and_the_log_has_a_line_each(tmp_path):
    outputs = Outputs(frames_every=4, frames=tmp_path / "frames", log=tmp_path / "run.jsonl")
    _, done = run(outputs)
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == ["000001.png", "000004.png", "000008.png"]
    first, last = (load_image(tmp_path / "frames" / name) for name in (names[0], names[-1]))
    assert np.abs(first - last).mean() > 0.5
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, 10))
    for line in lines:
        terms = [v for k, v in line.items() if k.split()[0] in ("content", "style")]
        assert sum(terms) == pytest.approx(line["loss"])
    assert min(line["loss"] for line in lines) == pytest.approx(done.result.loss)


def test_the_animation_has_a_frame_for_each_step_in_one_size(tmp_path):
    run(Outputs(frames_every=3, gif=tmp_path / "run.gif"), scales=(32, 48), iterations=6)
    with Image.open(tmp_path / "run.gif") as gif:
        assert gif.n_frames == 4  # 1, 3, 6, 9
        assert gif.size == (48, 36)


def test_the_plot_shows_every_term(tmp_path):
    pytest.importorskip("matplotlib")
    recording, _ = run(Outputs(plot=tmp_path / "run.svg"))
    text = (tmp_path / "run.svg").read_text()
    assert len(recording.history) == 9
    assert text.count("<path") > 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gif": "run.png"}, r"run.png: the suffix .png cannot be written"),
        ({"gif": "none/run.gif"}, "does not exist"),
        ({"log": "none/run.jsonl"}, "does not exist"),
        ({"log": "run.txt"}, "cannot be written"),
        ({"plot": "run.txt"}, "cannot be written"),
        ({"frames": "none/frames"}, "does not exist"),
        ({"frames": "file"}, "is a file"),
    ],
)
def test_a_bad_destination_is_refused_before_the_work_starts(tmp_path, options, says):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    paths = {name: tmp_path / path for name, path in options.items()}
    with pytest.raises(InputError, match=says):
        Recording(Outputs(**paths), 1).check()
