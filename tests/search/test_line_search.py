import numpy as np
import pytest

from npstyle.search.line_search import CURVATURE, DECREASE, MOST_STEPS, NARROW, propose_steps

FUNCTIONS = {
    # Like those of Moré and Thuente's section 5: a steep start, a plateau, a kink, many minima.
    "concave": (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
    "narrow": (
        lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
        lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3,
    ),
    "wavy": (
        lambda t: (1 - t) ** 2 + 0.05 * np.sin(20 * t),
        lambda t: -2 * (1 - t) + np.cos(20 * t),
    ),
    "parabola": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "wall": (lambda t: np.exp(5 * t) - 50 * t, lambda t: 5 * np.exp(5 * t) - 50),
    "valley": (
        lambda t: np.hypot(1, 30 * t - 4),
        lambda t: 30 * (30 * t - 4) / np.hypot(1, 30 * t - 4),
    ),
}


def run(function, slope, first):
    steps = propose_steps(function(0.0), slope(0.0), first)
    tried = [next(steps)]
    while True:
        try:
            tried.append(steps.send((function(tried[-1]), slope(tried[-1]))))
        except StopIteration as end:
            return tried, end.value


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("first", [1e-3, 1e-1, 1.0, 10.0, 1000.0])
def test_a_step_is_accepted_exactly_if_it_fulfils_both_wolfe_conditions(name, first):
    function, slope = FUNCTIONS[name]
    with np.errstate(over="ignore"):
        tried, good = run(function, slope, first)
        step = tried[-1]
        enough = function(step) <= function(0.0) + DECREASE * step * slope(0.0)
        flat = abs(slope(step)) <= CURVATURE * abs(slope(0.0))
    assert good == (enough and flat)
    # The slope of "narrow" at 0 is almost 0, so the interval soon has the width NARROW.
    assert good or name == "narrow" or first == 1000.0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("first", [1e-3, 1e-1, 1.0, 10.0])
def test_the_steps_agree_with_scipys_port_of_minpack(name, first):
    dcsrch = pytest.importorskip("scipy.optimize._dcsrch")
    function, slope = FUNCTIONS[name]
    theirs = dcsrch.DCSRCH(function, slope, DECREASE, CURVATURE, NARROW, 0.0, 1e10)
    tried = []
    step, task = first, b"START"
    value, derivative = function(0.0), slope(0.0)
    while len(tried) < MOST_STEPS:
        step, value, derivative, task = theirs._iterate(step, value, derivative, task)
        if not task.startswith(b"FG"):
            break
        tried.append(step)
        value, derivative = function(step), slope(step)
    assert run(function, slope, first)[0] == pytest.approx(tried, rel=1e-9)


def test_a_first_step_that_fulfils_the_conditions_is_accepted_at_once():
    assert run(*FUNCTIONS["parabola"], 2.5) == ([2.5], True)


def test_a_step_to_an_infinite_value_is_halved():
    function, slope = FUNCTIONS["parabola"]
    tried, good = run(lambda t: function(t) if t < 5 else np.inf, slope, 16.0)
    assert tried == [16.0, 8.0, 4.0]
    assert good


def test_the_search_fails_after_twenty_steps_if_the_function_has_no_minimum():
    tried, good = run(lambda t: -t, lambda t: -1.0, 1.0)
    assert not good
    assert len(tried) == 20


def test_the_search_fails_if_the_slope_is_wrong():
    _, good = run(lambda t: t, lambda t: -1.0, 1.0)
    assert not good
