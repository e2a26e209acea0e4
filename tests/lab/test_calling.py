import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.lab.calling import CACHE, UPSTREAM, order_of, with_tangents


def order(backward, names, is_number=False):
    return order_of(backward, names, len(names), is_number).sources


@pytest.mark.parametrize(
    ("backward", "names", "is_number", "sources"),
    [
        (lambda u, x, w: 0, "xw", False, (UPSTREAM, 0, 1)),
        (lambda x, w, u: 0, "xw", False, (0, 1, UPSTREAM)),
        (lambda u, w, x: 0, "xw", False, (UPSTREAM, 1, 0)),
        (lambda u, w: 0, "xw", False, (UPSTREAM, 1)),
        (lambda a, b, c: 0, "xw", False, (UPSTREAM, 0, 1)),
        (lambda a, b: 0, "x", False, (UPSTREAM, 0)),
        (lambda u: 0, "x", False, (UPSTREAM,)),
        (lambda x: 0, "x", True, (0,)),
        (lambda z: 0, "x", True, (0,)),
        (lambda x, target: 0, "xy", True, (0, 1)),
        (lambda u, x: 0, "xy", True, (UPSTREAM, 0)),
        (lambda u, x, y: 0, "xy", True, (UPSTREAM, 0, 1)),
        (lambda dout, cache: 0, "x", False, (UPSTREAM, CACHE)),
        (lambda cache, dout: 0, "xwb", False, (CACHE, UPSTREAM)),
        (lambda cache: 0, "x", True, (CACHE,)),
        (lambda u, cache: 0, ["cache"], False, (UPSTREAM, 0)),
        (lambda u, x, stride=2: 0, "x", False, (UPSTREAM, 0)),
        (lambda u, x, k=2: 0, "xk", False, (UPSTREAM, 0, 1)),
        (lambda u, *xs: 0, "xw", False, (UPSTREAM, 0, 1)),
    ],
)
def test_the_names_of_parameters_decide_and_the_upstream_gradient_comes_first_in_doubt(
    backward, names, is_number, sources
):
    assert order(backward, list(names), is_number) == sources


def test_parameters_without_a_known_name_leave_a_doubt():
    assert order_of(lambda a, b: 0, ["x"], 1, False).doubt
    assert not order_of(lambda a, x: 0, ["x"], 1, False).doubt


def test_parameters_that_fit_no_convention_are_refused_with_the_right_ones():
    with pytest.raises(InputError, match=r"\(u, p, q, r\).*backward\(upstream, x, w\)"):
        order(lambda u, p, q, r: 0, ["x", "w"])


def test_tangents_come_as_two_tuples_or_after_the_inputs():
    x, v, k = np.ones(2), np.zeros(2), 7

    def called(function, inputs, tangents):
        return with_tangents(function, inputs, tangents, "jvp")

    assert called(lambda xs, vs: (xs, vs), (x, k), (v, None)) == ((x, k), (v, None))
    assert called(lambda x, k, v: (x, k, v), (x, k), (v, None)) == (x, k, v)
    assert called(lambda x, v: (x, v), (x,), (v,)) == (x, v)
    assert called(lambda inputs, tangents: (inputs, tangents), (x,), (v,)) == ((x,), (v,))
    with pytest.raises(InputError, match=r"jvp takes 3 arguments \(a, b, c\) for 1 inputs"):
        called(lambda a, b, c: 0, (x,), (v,))
