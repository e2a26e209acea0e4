from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from npstyle.engine.disk import in_memory, on_disk
from npstyle.engine.objective import build_objective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import load_image
from npstyle.networks.network import accelerate, load_network
from npstyle.run.settings import Settings
from npstyle.search.box import mirror, mirror_backward
from npstyle.search.lbfgs import minimize_lbfgs
from npstyle.search.optimize import CORRECTIONS


def both_ways(function, x, iterations):
    """Values in the order of evaluation, by SciPy and by ours."""
    found = []
    for way in ("scipy", "ours"):
        values = []

        def noted(x, values=values):
            value, gradient = function(x)
            values.append(float(value))
            return value, gradient

        if way == "scipy":
            options = {"maxcor": CORRECTIONS, "maxiter": iterations, "ftol": 0, "gtol": 0}
            minimize(noted, x, jac=True, method="L-BFGS-B", options=options)
        else:
            minimize_lbfgs(noted, x, iterations=iterations, corrections=CORRECTIONS)
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
    """So flat that the first step, of length 1, is longer than the gradient."""
    value, slope = quartic(x)
    return 1e-5 * value, 1e-5 * slope


@pytest.mark.parametrize("function", [rosenbrock, quartic, wavy, valley, flat])
def test_it_goes_scipys_way(rng, function):
    theirs, ours = both_ways(function, rng.uniform(-2, 2, 30), 25)
    count = min(len(theirs), len(ours), 30)
    assert ours[:count] == pytest.approx(theirs[:count], rel=1e-5, abs=1e-9)


def assert_same_end(photo, painting, iterations):
    """Held after the same number of evaluations: the same lowest loss within 2 %."""
    settings = Settings()
    network = accelerate(load_network("builtin"), ["conv5_1"])
    objective = build_objective(network, photo, painting, settings)

    def function(z):
        evaluation = objective(mirror(z).reshape(photo.shape))
        return evaluation.loss, mirror_backward(evaluation.gradient.ravel(), z)

    theirs, ours = both_ways(function, photo.ravel(), iterations)
    count = min(len(theirs), len(ours))
    assert count > iterations
    assert min(ours[:count]) == pytest.approx(min(theirs[:count]), rel=0.02)
    assert min(ours[:count]) < 0.2 * ours[0]


def test_of_drawn_pictures_it_makes_the_same_within_two_percent():
    assert_same_end(draw_photo(32, 40), draw_painting(32, 40), 30)


@pytest.mark.parametrize(
    ("photo", "painting"),
    [("tuebingen", "starry_night"), ("golden_gate", "the_scream"), ("tuebingen", "shipwreck")],
)
def test_of_a_pair_it_makes_the_same_within_two_percent(shared, photo, painting):
    pictures = (load_image(shared / "images" / f"{name}.jpg", 64) for name in (photo, painting))
    assert_same_end(*pictures, 20)


def test_the_end_of_the_way_down_is_told():
    assert not minimize_lbfgs(quartic, np.zeros(5), iterations=5, corrections=3)
    assert minimize_lbfgs(quartic, np.ones(5), iterations=5, corrections=3)


def test_every_step_is_called_back_and_nothing_given_is_changed(rng):
    x = rng.uniform(-2, 2, 10)
    kept, seen = x.copy(), []
    minimize_lbfgs(rosenbrock, x, iterations=7, corrections=3, callback=seen.append)
    assert len(seen) == 7
    assert np.array_equal(x, kept)
    values = [rosen(x), *(rosen(point) for point in seen)]
    assert all(after < before for before, after in pairwise(values))


@pytest.mark.parametrize("kind", ["float32", "a file"])
def test_pairs_in_float32_and_in_files_go_nearly_the_same_way(rng, tmp_path, kind):
    x = rng.uniform(-2, 2, 100_000)  # more than are multiplied at a time
    scales = rng.uniform(1, 50, x.size)

    def function(x):
        return float(scales @ x**4 + x @ x), scales * 4 * x**3 + 2 * x

    make = in_memory if kind == "float32" else on_disk(tmp_path)
    ends = []
    for basis in (None, make((2 * 5 + 3, x.size), np.float32, "the pairs")):
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
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)
    assert ends[1][-1] < 0.01 * function(x)[0]
