import numpy as np
import pytest

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.gradcheck import check_gradient, check_subject
from npstyle.lab.probes import TAYLOR_STEPS, Line, difference, taylor
from npstyle.lab.subjects import Subject
from npstyle.lab.suite import check_gpu, check_network
from npstyle.lab.whole import cases, engine_subject, objective_outcome, tile_outcomes
from npstyle.maths import Preprocessing, StyleTerm, objective, relu, relu_backward
from npstyle.networks.network import configure, load_network
from npstyle.tiles.cut import ReceptiveField


def outcomes(report, method):
    found = [outcome for outcome in report.outcomes if outcome.method == method]
    assert found, f"{method} did not run"
    return found


def subjects(chapter, seed=0):
    return list(CHAPTERS[chapter].subjects(np.random.default_rng(seed)))


@pytest.mark.parametrize("chapter", ["gram", "content", "style", "tv"])
def test_taylor_slopes_are_1_and_2_within_a_twentieth_over_four_decades(chapter):
    for outcome in outcomes(check_subject(subjects(chapter)[0]), "taylor"):
        assert outcome.slopes[0] == pytest.approx(1, abs=0.05)
        assert outcome.slopes[1] == pytest.approx(2, abs=0.05)
        # The second remainder keeps falling by 100 a decade over at least four decades.
        first_four = np.array(outcome.remainders[1][:9])
        assert outcome.steps[0] / outcome.steps[8] == pytest.approx(1e4)
        assert np.allclose(np.diff(np.log10(first_four)), -1, atol=0.05)


@pytest.mark.parametrize(
    "chapter", ["conv2d", "avg_pool2d", "preprocess", "zero", "replicate", "windows"]
)
def test_adjoint_errors_of_linear_functions_are_1e_13_or_less(chapter):
    for subject in subjects(chapter):
        assert all(o.error <= 1e-13 for o in outcomes(check_subject(subject), "adjoint"))


@pytest.mark.parametrize(
    "chapter",
    ["conv2d", "avg_pool2d", "gram", "content", "style", "tv", "preprocess", "windows", "winograd"],
)
def test_complex_step_errors_of_analytic_functions_are_1e_14_or_less(chapter):
    report = check_subject(subjects(chapter)[0])
    assert all(outcome.error <= 1e-14 for outcome in outcomes(report, "complex step"))


@pytest.mark.parametrize("known", [True, False])
def test_at_a_kink_the_derivative_must_lie_between_the_one_sided_ones(known):
    z = np.array([1.0, 0.0, -1.0])
    pattern = (lambda z: (relu(z), z > 0)) if known else None

    def check(at_zero):
        def backward(g, z):
            return g * np.where(z == 0, at_zero, z > 0)

        return check_subject(Subject("relu", relu, backward, (z,), pattern))

    for at_zero in (0.0, 0.5, 1.0):
        report = check(at_zero)
        assert report.passed, report
        assert outcomes(report, "coordinates")[0].kinks == 1
    for at_zero in (-0.1, 1.1):
        report = check(at_zero)
        assert not report.passed
        assert "is not between" in outcomes(report, "coordinates")[0].note


def test_shorter_steps_avoid_a_kink_near_the_point():
    z = np.array([1e-6, 1.0])
    report = check_subject(
        Subject(
            "relu",
            relu,
            lambda g, z: relu_backward(g, relu(z)),
            (z,),
            pattern=lambda z: (relu(z), z > 0),
        )
    )
    assert report.passed
    assert outcomes(report, "coordinates")[0].kinks == 0


def test_the_note_names_a_missing_constant_factor():
    report = check_gradient(lambda x: np.sum(x**3), lambda g, x: g * x**2, [np.arange(1.0, 6.0)])
    assert "must be multiplied by 3 everywhere" in outcomes(report, "coordinates")[0].note
    slope = outcomes(report, "taylor")[0].slopes[1]
    assert slope == pytest.approx(1, abs=0.05)


def test_a_report_prints_as_the_table_of_its_methods():
    report = check_gradient(lambda x: np.sum(x**2), lambda x: x, [np.ones((2, 3))], name="mine")
    lines = repr(report).splitlines()
    assert lines[0].split() == ["what", "method", "error", "slopes", "kinks", "s"]
    assert lines[1].split()[:4] == ["mine", "coordinates", "5.0e-01", "WRONG"]
    assert "must be multiplied by 2 everywhere" in lines[2]


def test_a_function_that_returns_value_and_gradient_needs_no_backward():
    x, y = np.arange(1.0, 4.0), np.arange(2.0, 5.0)
    assert check_gradient(lambda x: (np.sum(x**2), 2 * x), None, [x]).passed
    assert not check_gradient(lambda x: (np.sum(x**2), x), None, [x]).passed
    pair = check_gradient(lambda x, y: (np.sum(x * y), (y, x)), None, [x, y])
    assert pair.passed
    assert {outcome.argument for outcome in pair.outcomes} == {0, 1}


def test_one_wrong_entry_among_many_is_found():
    x = np.linspace(1, 2, 150)

    def backward(g, x):
        gradient = g * np.cos(x)
        gradient[77] *= 1.001
        return gradient

    report = check_gradient(lambda x: np.sum(np.sin(x)), backward, [x])
    assert not report.passed
    assert "(77)" in outcomes(report, "coordinates")[0].note


def test_large_arrays_are_sampled():
    x = np.linspace(-1, 1, 5000)
    report = check_gradient(np.exp, lambda g, x: g * np.exp(x), [x], samples=40, directions=4)
    assert outcomes(report, "coordinates")[0].checked == 40
    assert outcomes(report, "directions")[0].checked == 4
    assert report.passed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_steps_fit_the_precision_and_the_scale(rng, dtype, factor):
    x = (rng.standard_normal(30) * factor).astype(dtype)
    scale = dtype(factor)
    right = check_gradient(np.square, lambda g, x: 2 * g * x, [x])
    wrong = check_gradient(np.square, lambda g, x: g * (2 * x + scale / 10), [x])
    assert right.passed, right
    assert not wrong.passed


def test_functions_of_a_number_and_functions_that_overwrite_their_input_are_accepted():
    assert check_gradient(lambda x: x**2, lambda g, x: 2 * g * x, [np.float64(3.0)]).passed

    def spoils_its_input(x):
        x *= 2
        return x.sum()

    assert check_gradient(spoils_its_input, lambda g, x: g * np.full(3, 2.0), [np.ones(3)]).passed


@pytest.mark.parametrize(
    ("function", "backward", "inputs", "says"),
    [
        (np.sum, lambda g, x: x[:2], [np.ones(3)], r"shape \(2,\); the input has \(3,\)"),
        (np.sum, lambda g, x: x, [np.ones(3, int)], "needs a float array"),
        (np.sum, lambda g, x: (x, x, x), [np.ones(3)], "3 gradients for 1 inputs"),
        (np.sum, lambda g, x: None, [np.ones(3)], "backward returned None; it must return"),
        (lambda x: (np.sum(x), None), None, [np.ones(3)], "the function returned None"),
        (lambda x: np.random.rand(), lambda g, x: x, [np.ones(3)], "without randomness"),
        (lambda x: np.nan * x, lambda g, x: g, [np.ones(3)], "NaN or infinity"),
        (lambda x: "text", lambda g, x: g, [np.ones(3)], "float numbers"),
        (np.sum, None, [np.ones(3)], r"pair \(value, gradient\)"),
        (lambda x: (x, x), None, [np.ones(3)], "must be a number"),
    ],
)
def test_misuse_raises_an_error_with_one_sentence(function, backward, inputs, says):
    with pytest.raises(InputError, match=says):
        check_gradient(function, backward, inputs)


def test_the_adjoint_test_needs_a_backward_function():
    with pytest.raises(InputError, match="adjoint"):
        check_subject(
            Subject("sum", lambda x: (np.sum(x), np.ones(3)), None, (np.ones(3),), linear=(0,))
        )


def test_the_same_seed_gives_the_same_numbers_and_as_dict_holds_them_all():
    first, second = (check_subject(subjects("style")[0], seed=4).as_dict() for _ in range(2))
    for report in (first, second):
        for outcome in report["outcomes"]:
            outcome.pop("seconds")
    assert repr(first) == repr(second)
    methods = [outcome["method"] for outcome in first["outcomes"]]
    assert methods == ["coordinates", "directions", "taylor", "complex step"]


def test_difference_and_taylor_on_a_known_line():
    line = Line(lambda t: (np.exp(t) - 1, None), 1.0, 1e-16)
    found = difference(line, 1e-3)
    assert found.numeric == pytest.approx(1, rel=1e-11)
    assert abs(found.numeric - 1) <= found.uncertainty
    assert not found.at_kink
    remainders = taylor(line)
    assert remainders.second[0] == pytest.approx(np.exp(TAYLOR_STEPS[0]) - 1 - TAYLOR_STEPS[0])
    assert remainders.second_slope == pytest.approx(2, abs=0.01)


def test_a_step_that_crosses_a_kink_is_shortened_at_once():
    tried = []

    def change(t):
        tried.append(t)
        return max(t - 0.03, 0) + t, np.array([t > 0.03])

    found = difference(Line(change, 1.0, 1e-16, np.array([False])), 0.1)
    assert tried == pytest.approx([-0.2, 0.2, -0.02, 0.02, -0.01, 0.01])
    assert (found.at_kink, found.crossed) == (False, 0)
    assert found.numeric == pytest.approx(1, rel=1e-12)


def test_the_battery_passes_on_the_builtin_network():
    reports = list(check_network(load_network("builtin"), 32, samples=6, directions=2))
    assert all(report.passed for report in reports), [r for r in reports if not r.passed]
    names = " ".join(report.name for report in reports)
    for part in ("conv1_1", "relu5_1", "pool4 max", "objective gatys", "objective neural-style"):
        assert part in names
    for report in reports:
        if report.name.startswith("tiles, "):
            (outcome,) = report.outcomes
            assert outcome.method == "equals whole"
            assert outcome.checked > 1
    assert "tiles, paper" in names


@pytest.mark.parametrize("check", [check_network, check_gpu])
def test_a_picture_that_is_too_small_is_refused_before_the_first_report(check):
    with pytest.raises(InputError, match=r"4x4 pixels is too small for layer .*; use a larger --s"):
        next(check(load_network("builtin"), 4, samples=6, directions=2))


def test_tiles_that_see_too_little_fail(monkeypatch):
    right = ReceptiveField.of
    monkeypatch.setattr(ReceptiveField, "of", lambda *a: (right(*a)[0] + 2, right(*a)[1]))
    assert not check_subject(subjects("tiles")[0]).passed
    monkeypatch.setattr(ReceptiveField, "of", lambda *a: (right(*a)[0] + 16, right(*a)[1]))
    _, outcome = next(tile_outcomes(load_network("builtin"), 0))
    assert not outcome.passed
    assert "differs by" in outcome.note


@pytest.mark.slow
def test_the_objective_on_the_real_vgg19_at_200_pixels_and_20_directions(vgg19):
    """In float64 at 64x64: worst relative error 1e-6 or less, and no line at a kink.

    The differences are those of the engine's objective, whose convolutions by Winograd's algorithm
    take a third of the time of the textbook's. Loss and gradient equal the textbook's.
    """
    photo, painting = draw_photo(64, 64), draw_painting(64, 64)
    pixels = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 1, 254)
    every = cases(load_network(vgg19), photo, painting)
    case = next(case for case in every if case.name == "gatys, Winograd")
    with use_threads(physical_cores()):
        agreement = objective_outcome(case, cpu, photo, pixels)
        bound = bind(case.network, case.losses.layers, route=case.route)
        objective = StyleObjective(bound, photo, case.style, case.losses)
        subject = engine_subject(case.name, objective, pixels)
        report = check_subject(subject, samples=200, directions=20)
    assert agreement.error <= 1e-12
    assert report.passed, report
    for method, count in (("coordinates", 200), ("directions", 20)):
        outcome = outcomes(report, method)[0]
        assert outcome.checked == count
        assert outcome.error <= 1e-6
        assert outcome.kinks == 0


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.001, False)])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_objective_through_many_relus_agrees_without_a_pattern_of_its_kinks(seed, factor, right):
    """Its kinks lie so close that the first step crosses many, which look like a curvature."""
    network = configure(load_network("builtin"), "avg", np.float64)
    layers = network.layers[: 1 + network.depth("relu2_1")]
    prep = Preprocessing(network.channel_order, network.mean, network.scale)
    term = StyleTerm("relu2_1", 1.0, np.zeros((32, 32)))

    def value_and_gradient(x):
        loss, gradient = objective(x, layers, prep, [term])
        return loss, factor * gradient

    x = draw_photo(24, 24)
    report = check_gradient(value_and_gradient, None, [x], samples=8, seed=seed)
    assert report.passed == right, report
