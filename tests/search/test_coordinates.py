import numpy as np
import pytest

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.losses import Evaluation
from npstyle.engine.objective import StyleObjective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.maths.precondition import precondition, precondition_backward
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings
from npstyle.search.coordinates import (
    COLORS,
    FIRST_STEP,
    coordinates,
    first_step,
    knowing_start,
    search_spectrum,
)
from npstyle.search.optimize import optimize

SHAPE = (6, 5, 3)


@pytest.fixture(params=[COLORS, None], ids=["frequencies", "pixels"])
def moved(request, rng):
    return coordinates(rng.uniform(0, 255, SHAPE), request.param, cpu)


@pytest.fixture(scope="module")
def objective():
    settings = Settings()
    layers = [*settings.content_layers, *settings.style_layers]
    photo, painting = draw_photo(96, 64), draw_painting(96, 64)
    bound = bind(load_network("builtin"), layers, route="fast")
    return StyleObjective(bound, photo, painting, settings.losses()), photo


def test_the_coordinates_of_the_start_are_zeros_and_its_pixels_are_exact(moved):
    pixels = moved.pixels(moved.zeros())
    assert pixels.dtype == np.float64
    assert np.array_equal(pixels, moved.start)


def test_the_gradient_is_the_adjoint_of_the_change_of_the_pixels(moved, rng):
    w, upstream = rng.standard_normal((2, *SHAPE))
    change = moved.pixels(w.ravel()) - moved.start
    expected = float(np.sum(change * upstream))
    assert w.ravel() @ moved.gradient(upstream) == pytest.approx(expected, rel=1e-5)


def test_a_step_of_length_1_lowers_the_linear_model_by_the_share_of_the_first_step(moved, rng):
    loss, upstream = 7.0, rng.standard_normal(SHAPE)
    scaled = moved.in_units(first_step(loss, moved.gradient(upstream)))
    gradient = scaled.gradient(upstream)
    assert np.linalg.norm(gradient) == pytest.approx(FIRST_STEP * loss, rel=1e-6)


@pytest.mark.parametrize(("loss", "gradient"), [(0.0, 1.0), (3.0, 0.0)])
def test_without_a_loss_or_a_gradient_the_unit_stays(loss, gradient):
    assert first_step(loss, np.full(7, gradient)) == 1


def test_a_known_start_is_not_evaluated_again():
    calls = []
    function = knowing_start(lambda w: calls.append(w) or (2.0, w), 1.0, np.ones(2))
    assert function(np.zeros(2))[0] == 1.0
    assert not calls
    assert function(np.zeros(2))[0] == 2.0
    assert len(calls) == 1


@pytest.mark.parametrize("precondition", [COLORS, None], ids=["frequencies", "pixels"])
def test_the_first_step_costs_one_evaluation_besides_that_of_the_start(objective, precondition):
    function, photo = objective
    for optimizer in ("lbfgs", "scipy"):
        result = optimize(
            function, photo, iterations=1, optimizer=optimizer, precondition=precondition
        )
        assert result.evaluations == 2


@pytest.mark.parametrize("precondition", [COLORS, None], ids=["frequencies", "pixels"])
def test_both_programs_take_the_same_steps(objective, precondition):
    function, photo = objective
    found = [
        optimize(function, photo, iterations=6, optimizer=optimizer, precondition=precondition)
        for optimizer in ("lbfgs", "scipy")
    ]
    assert found[0].evaluations == found[1].evaluations
    assert np.allclose(found[0].image, found[1].image, rtol=0, atol=1e-2)


def test_a_loss_that_curves_as_the_preconditioner_expects_needs_few_steps(rng):
    goal, start = rng.uniform(60, 190, (2, 24, 30, 3))
    s = search_spectrum(24, 30)

    def bowl(pixels):
        coefficients = precondition_backward(pixels - goal, 1 / s)
        gradient = precondition(coefficients, 1 / s)
        loss = 0.5 * float(np.sum(coefficients**2))
        return Evaluation(loss, gradient, {"content x": loss})

    frequencies = optimize(bowl, start, iterations=6)
    pixels = optimize(bowl, start, iterations=6, precondition=None)
    assert np.allclose(frequencies.image, goal, rtol=0, atol=1e-3)
    assert not np.allclose(pixels.image, goal, rtol=0, atol=0.1)
