import re
from types import SimpleNamespace

import pytest

from npstyle.run import progress
from npstyle.run.progress import ProgressDisplay


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
