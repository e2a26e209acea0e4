import re
from types import SimpleNamespace

import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.run import progress
from npstyle.run.progress import ProgressDisplay
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def left_after(display, clock, seconds, iteration, capsys):
    clock.now += seconds
    display.update(
        SimpleNamespace(iteration=iteration, evaluations=iteration, loss=1.0, parts={"tv": 1.0})
    )
    return re.search(r"(\S+) left", capsys.readouterr().out)[1]


def test_the_time_left_accounts_for_the_cost_of_larger_scales(clock, capsys):
    display = ProgressDisplay(4, quiet=False)
    display.pace.weigh((2, 2), (1.0, 9.0))
    display.start()
    assert left_after(display, clock, 1, 1, capsys) == "0:19"
    assert left_after(display, clock, 1, 2, capsys) == "0:18"
    assert left_after(display, clock, 9, 3, capsys) == "0:09"


def test_the_time_left_of_a_resumed_run_ignores_earlier_work(clock, capsys):
    display = ProgressDisplay(10, quiet=False)
    display.start()
    assert left_after(display, clock, 2, 6, capsys) == "0:08"


def test_a_pause_does_not_count_as_work(clock, capsys):
    display = ProgressDisplay(4, quiet=False)
    display.start()
    assert left_after(display, clock, 1, 1, capsys) == "0:03"
    clock.now += 100
    display.pace.rest(100)
    assert left_after(display, clock, 1, 2, capsys) == "0:02"


def test_the_library_shows_progress_only_if_asked(capsys):
    settings = Settings(size=32, iterations=2)
    seen = []
    for asked in (False, True):
        transfer(
            draw_photo(24, 32),
            draw_painting(24, 32),
            "builtin",
            settings,
            callback=lambda step: seen.append(step.iteration),
            progress=asked,
        )
        assert ("2/2  loss" in capsys.readouterr().out) == asked
    assert seen == [1, 2, 1, 2]
