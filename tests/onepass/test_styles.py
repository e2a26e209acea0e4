import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.weights import find_weights
from npstyle.onepass.styles import load_named, mixture_code, parse_style


def test_a_number_is_one_of_the_learned_styles():
    network, code = parse_style("7")
    assert network.styles == 26
    assert np.array_equal(code, np.eye(26)[7])


def test_a_mixture_has_shares_that_sum_to_1():
    _, code = parse_style("3:1,12:3")
    assert code[3] == pytest.approx(0.25)
    assert code[12] == pytest.approx(0.75)
    _, code = parse_style("3,12")
    assert code[3] == code[12] == 0.5


def test_a_file_may_be_named_with_one_of_its_styles():
    path = find_weights("multistyle26.npz")
    assert np.array_equal(parse_style(f"{path}:7")[1], parse_style("7")[1])
    assert np.array_equal(parse_style("multistyle26.npz:0:2,1:2")[1], parse_style("0,1")[1])


@pytest.mark.parametrize(
    ("style", "says"),
    [
        ("26", "there is no style 26; network multistyle has 0 to 25"),
        ("3:0", "give a share above 0"),
        ("1:2.3.4", "2.3.4 is not a number"),
        ("any_style", "reads its style from a painting"),
        ("multistyle26", "has 26 styles; name one"),
        ("builtin", "is not a style network"),
        ("nothing", "no such style or file"),
    ],
)
def test_a_style_that_is_none_is_refused(style, says):
    with pytest.raises(InputError, match=says):
        parse_style(style)


def test_a_network_with_one_style_has_no_code():
    from dataclasses import replace

    network = replace(load_named("multistyle26"), code=0)
    assert network.styles == 1
    assert mixture_code("", network).size == 0
    assert mixture_code("0", network).size == 0
    with pytest.raises(InputError, match="has 0 to 0"):
        mixture_code("1", network)
