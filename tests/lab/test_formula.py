"""How users hand functions to `check_gradient`."""

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.lab.gradcheck import check_gradient

X = np.random.default_rng(3).standard_normal((4, 3))
W = np.random.default_rng(4).standard_normal((3, 2))
LABELS = np.array([0, 1, 1, 0])
MASK = (X > 0).astype(float)


def check(function, backward, *inputs, **options):
    return check_gradient(function, backward, inputs, samples=5, directions=3, **options)


def checked(report):
    assert report.passed, report
    return {outcome.argument for outcome in report.outcomes}


def two(x, w):
    return x @ w, np.sin(w)


def two_backward(upstream, x, w):
    first, second = upstream
    assert (first.shape, second.shape) == ((4, 2), (3, 2))
    return first @ w.T, x.T @ first + second * np.cos(w)


@pytest.mark.parametrize("kind", [tuple, list])
def test_several_outputs_have_a_tuple_as_upstream(kind):
    def function(x, w):
        return kind(two(x, w))

    assert checked(check(function, two_backward, X, W)) == {0, 1}
    assert checked(check(function, lambda u, x, w: list(two_backward(u, x, w)), X, W)) == {0, 1}


@pytest.mark.parametrize("lost", [0, 1])
def test_an_output_that_the_backward_function_forgets_is_found(lost):
    def backward(upstream, x, w):
        return two_backward(tuple(g * (k != lost) for k, g in enumerate(upstream)), x, w)

    assert not check(two, backward, X, W).passed


def test_each_of_several_outputs_keeps_its_precision():
    seen = []

    def backward(upstream, x):
        seen.append([g.dtype.name for g in upstream])
        return (upstream[0] * 2 + upstream[1] * 3).astype(np.float32)

    assert check(lambda x: (2 * x.astype(float), 3 * x), backward, X.astype(np.float32)).passed
    assert seen[0] == ["float64", "float32"]


def softmax_loss(x, w, labels, scale="mean"):
    z = np.exp(x @ w)
    p = z / z.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(4), labels]).mean()


def softmax_loss_backward(x, w, labels, scale="mean"):
    z = np.exp(x @ w)
    p = z / z.sum(axis=1, keepdims=True)
    p[np.arange(4), labels] -= 1
    return x.T @ p / 4 if w is None else (p @ w.T / 4, x.T @ p / 4)


def test_integers_and_strings_are_fixed_with_a_note():
    report = check(softmax_loss, softmax_loss_backward, X, W, LABELS, "mean")
    assert checked(report) == {0, 1}
    assert report.notes == (
        "input 2 (labels) has no derivative (dtype int64) and was held fixed",
        "input 3 (scale) has no derivative (str) and was held fixed",
    )
    assert report.as_dict()["notes"] == list(report.notes)


def test_gradients_may_be_given_for_all_inputs_or_for_those_with_a_derivative():
    def masked(mask, x):
        return np.sum(mask * x**2)

    for backward in (
        lambda mask, x: 2 * mask * x,
        lambda mask, x: (2 * mask * x,),
        lambda mask, x: (None, 2 * mask * x),
        lambda mask, x: [x**2, 2 * mask * x],
    ):
        for fixed in ("mask", ("mask",), 0, [0]):
            assert checked(check(masked, backward, MASK, X, fixed=fixed)) == {1}


def test_without_fixed_a_float_mask_has_a_derivative():
    def masked(mask, x):
        return np.sum(mask * x**2)

    assert not check(masked, lambda mask, x: (0 * x, 2 * mask * x), MASK, X).passed
    assert check(masked, lambda mask, x: (x**2, 2 * mask * x), MASK, X).passed


def test_an_input_without_a_gradient_gets_a_note():
    report = check(lambda x, w: np.sum(x @ w), lambda x, w: np.ones((4, 2)) @ w.T, X, W)
    assert checked(report) == {0}
    assert report.notes == ("input 1 (w) was not checked: no gradient was returned",)


def test_fixed_inputs_are_the_same_in_every_call():
    """A random generator repeats its numbers, and a function may change its own array."""

    def dropout(x, rng, count):
        count += 1
        return x * (rng.random(x.shape) < 0.5) * count[0]

    def dropout_backward(upstream, x, rng, count):
        return upstream * (rng.random(x.shape) < 0.5) * (count[0] + 1)

    rng = np.random.default_rng(0)
    assert checked(check(dropout, dropout_backward, X, rng, np.array([0]))) == {0}


def test_a_cache_goes_from_the_function_to_its_backward_function():
    def affine(x, w):
        return x @ w, (x, w)

    def right(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout

    def wrong(dout, cache):
        x, w = cache
        return dout @ w.T, 2 * x.T @ dout

    assert checked(check(affine, right, X, W)) == {0, 1}
    assert not check(affine, wrong, X, W).passed


def test_the_upstream_gradient_may_come_last_and_a_wrong_guess_is_named():
    assert check(lambda x: np.sin(x), lambda x, g: g * np.cos(x), X).passed
    report = check(lambda x: np.sin(x), lambda a, b: b * np.cos(a), X)
    assert not report.passed
    assert "dL/dF was passed to the backward function as a" in report.notes[-1]
    assert check(lambda x: np.sin(x), lambda b, a: b * np.cos(a), X).notes == ()


@pytest.mark.parametrize("gradient", [lambda x: list(2 * x), lambda x: tuple(2 * x)])
def test_numbers_in_a_list_are_one_gradient(gradient):
    assert check(lambda x: np.sum(x**2), gradient, X[0]).passed
    assert check(lambda x: list(x**2), lambda u, x: list(2 * u * x), X[0]).passed


@pytest.mark.parametrize(
    ("function", "backward", "options", "says"),
    [
        (lambda x: (x, {}), lambda g, x: g, {}, r"tuple of \(float64, dict\).*`cache`"),
        (lambda x: (x, x > 0), lambda g, x: g[0], {}, "every output must be a float array"),
        (lambda x: x, lambda g, cache: g, {}, r"must return \(result, cache\); it returned an"),
        (lambda x: x, lambda x: x, {}, "must take dL/dF"),
        (lambda x: x, lambda g, x: g, {"fixed": "y"}, "has no input y; it has x"),
        (lambda x: x, lambda g, x: g, {"fixed": 1}, "has no input 1; it has x"),
        (lambda x: x, lambda g, x: g, {"fixed": None}, "names or numbers of inputs"),
        (lambda x: x, lambda g, x: g, {"fixed": "x"}, "every input is fixed"),
        (lambda x: x, lambda g, x: "text", {}, r"gradient for input 0 \(x\) has dtype"),
        (np.sum, lambda x: [x, x, x], {}, "3 gradients for 1 inputs"),
        (lambda x: x, lambda g, x: g, {"jvp": lambda x, v: (x, v)}, "of the result alone"),
        (lambda x: x, lambda g, x: g, {"hvp": lambda x, v: v}, "must return a number"),
        (lambda x: x, None, {"hvp": lambda x, v: v}, "must return a pair"),
    ],
)
def test_misuse_raises_an_error_with_one_sentence(function, backward, options, says):
    with pytest.raises(InputError, match=says):
        check(function, backward, X, **options)


def test_a_list_of_arrays_as_an_input_is_refused():
    with pytest.raises(InputError, match=r"input 0 \(p\) is a list of arrays"):
        check(lambda p: np.sum(p[0]), lambda p: p, [X, W])


@pytest.mark.parametrize("kind", ["input", "result"])
def test_forward_derivatives_of_complex_numbers_are_refused(kind):
    x = X + 1j if kind == "input" else X
    jvp = {"jvp": lambda inputs, tangents: 1j * tangents[0]}
    with pytest.raises(InputError, match="jvp, hvp: are checked for real inputs and results only"):
        check(lambda x: 1j * x, lambda u, x: (-1j * u).real, x, **jvp)
