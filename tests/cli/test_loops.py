import time

import pytest

from npstyle.cli import loops
from npstyle.engine.device import CPU


@pytest.mark.parametrize(("seconds", "quiet"), [(0.3, False), (0.3, True), (0.0, False)])
def test_loops_that_take_long_to_load_are_announced_unless_quiet(
    monkeypatch, capsys, seconds, quiet
):
    monkeypatch.setattr(loops, "COMPILING_AFTER", 0.1)
    monkeypatch.setattr(loops, "engine_of", lambda device, fast: time.sleep(seconds))
    loops.load_loops(CPU, quiet)
    assert ("being compiled" in capsys.readouterr().out) == (seconds > 0.1 and not quiet)
