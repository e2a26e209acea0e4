from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from npstyle.engine.bind import bind
from npstyle.engine.disk import in_memory, on_disk
from npstyle.engine.objective import StyleObjective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image
from npstyle.maths.box import mirror, mirror_backward
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings
from npstyle.search.lbfgs import CORRECTIONS, basis_shape, minimize_lbfgs


def both_searches(function, x, iterations):
    """Return the values in the order of evaluation, of SciPy's search and of ours."""
    found = []
    for name in ("scipy", "ours"):
        values = []

        def recorded(x, values=values):
            value, gradient = function(x)
            values.append(float(value))
            return value, gradient

        if name == "scipy":
            options = {"maxcor": CORRECTIONS, "maxiter": iterations, "ftol": 0, "gtol": 0}
            minimize(recorded, x, jac=True, method="L-BFGS-B", options=options)
        else:
            minimize_lbfgs(recorded, x, iterations=iterations, corrections=CORRECTIONS)
        found.append(values)
    return found


def rosenbrock(x):
    return rosen(x), rosen_der(x)


def quartic(x):
    scales = np.arange(1, len(x) + 1)
    return float(np.sum(scales * x**4 + x**2)), scales * 4 * x**3 + 2 * x


def wavy(x):
    return float(np.sum(np.sin(3 * x) + 0.05 * x**2)), 3 * np.cos(3 * x) + 0.1 * x


def valley(x):
    return float(np.sum(np.sqrt(1 + 100 * x**2))), 100 * x / np.sqrt(1 + 100 * x**2)


def flat(x):
    """So flat that the first step, which has the length 1, is longer than the gradient."""
    value, slope = quartic(x)
    return 1e-5 * value, 1e-5 * slope


@pytest.mark.parametrize("function", [rosenbrock, quartic, wavy, valley, flat])
def test_the_evaluations_agree_with_scipys(rng, function):
    theirs, ours = both_searches(function, rng.uniform(-2, 2, 30), 25)
    count = min(len(theirs), len(ours), 30)
    assert ours[:count] == pytest.approx(theirs[:count], rel=1e-5, abs=1e-9)


def assert_same_lowest_loss(photo, painting, iterations):
    """After equally many evaluations, the lowest losses agree within 2 %."""
    bound = bind(load_network("builtin"), ["conv5_1"], route="fast")
    objective = StyleObjective(bound, photo, painting, Settings().losses())

    def function(z):
        evaluation = objective(mirror(z).reshape(photo.shape))
        return evaluation.loss, mirror_backward(evaluation.gradient.ravel(), z)

    theirs, ours = both_searches(function, photo.ravel(), iterations)
    count = min(len(theirs), len(ours))
    assert count > iterations
    assert min(ours[:count]) == pytest.approx(min(theirs[:count]), rel=0.02)
    assert min(ours[:count]) < 0.2 * ours[0]


def test_on_drawn_pictures_the_lowest_loss_agrees_with_scipys_within_two_percent():
    assert_same_lowest_loss(draw_photo(32, 40), draw_painting(32, 40), 30)


@pytest.mark.parametrize(
    ("photo", "painting"),
    [("tuebingen", "starry_night"), ("golden_gate", "the_scream"), ("tuebingen", "shipwreck")],
)
def test_on_real_pictures_the_lowest_loss_agrees_with_scipys_within_two_percent(
    shared, photo, painting
):
    pictures = (load_image(shared / "images" / f"{name}.jpg", 64) for name in (photo, painting))
    assert_same_lowest_loss(*pictures, 20)


def test_the_search_returns_false_if_no_step_lowers_the_function():
    assert not minimize_lbfgs(quartic, np.zeros(5), iterations=5, corrections=3)
    assert minimize_lbfgs(quartic, np.ones(5), iterations=5, corrections=3)


def test_the_callback_gets_every_step_and_the_arrays_passed_in_stay_unchanged(rng):
    x = rng.uniform(-2, 2, 10)
    kept, seen = x.copy(), []
    minimize_lbfgs(rosenbrock, x, iterations=7, corrections=3, callback=seen.append)
    assert len(seen) == 7
    assert np.array_equal(x, kept)
    values = [rosen(x), *(rosen(point) for point in seen)]
    assert all(after < before for before, after in pairwise(values))


@pytest.mark.parametrize("kind", ["float32", "a file"])
def test_a_history_in_float32_or_in_a_file_hardly_changes_the_search(rng, tmp_path, kind):
    x = rng.uniform(-2, 2, 100_000)  # more than one strip
    scales = rng.uniform(1, 50, x.size)

    def function(x):
        return float(scales @ x**4 + x @ x), scales * 4 * x**3 + 2 * x

    make = in_memory if kind == "float32" else on_disk(tmp_path)
    ends = []
    for basis in (None, make(basis_shape(5, x.size), np.float32, "the history")):
        values = []
        minimize_lbfgs(
            function,
            x,
            iterations=15,
            corrections=5,
            callback=lambda x, values=values: values.append(function(x)[0]),
            basis=basis,
        )
        ends.append(values)
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
    assert ends[1][-1] < 0.01 * function(x)[0]
