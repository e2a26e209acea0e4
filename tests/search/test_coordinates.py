import numpy as np
import pytest

from npstyle.engine import cpu
from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings
from npstyle.search.coordinates import FIRST_STEP, coordinates
from npstyle.search.optimize import optimize

SHAPE = (6, 5, 3)


@pytest.fixture(params=[True, False], ids=["frequencies", "pixels"])
def moved(request, rng):
    return coordinates(rng.uniform(0, 255, SHAPE), request.param, cpu)


@pytest.fixture(scope="module")
def objective():
    rng = np.random.default_rng(5)
    settings = Settings()
    layers = [*settings.content_layers, *settings.style_layers]
    rough = rng.uniform(0, 255, (8, 10, 3)).repeat(8, 0).repeat(8, 1)
    painting = np.clip(rough[::-1] + rng.normal(0, 30, rough.shape), 0, 255)
    bound = bind(load_network("builtin"), layers, route="fast")
    return StyleObjective(bound, rough, painting, settings.losses()), rough


def test_the_pixels_of_an_images_coordinates_are_the_image(moved, rng):
    image = rng.uniform(0, 255, SHAPE)
    assert np.allclose(moved.pixels(moved.of(image)), image.ravel(), rtol=0, atol=1e-11)


def test_the_gradient_is_the_adjoint_of_the_pixels(moved, rng):
    w, upstream = rng.standard_normal((2, np.prod(SHAPE)))
    assert moved.pixels(w) @ upstream == pytest.approx(w @ moved.gradient(upstream), rel=1e-12)


def test_a_step_of_length_1_lowers_the_linear_model_by_the_share_of_the_first_step(moved, rng):
    loss, upstream = 7.0, rng.standard_normal(np.prod(SHAPE))
    scaled = moved.in_units_of_first_step(loss, moved.gradient(upstream))
    gradient = scaled.gradient(upstream)
    assert np.linalg.norm(gradient) == pytest.approx(FIRST_STEP * loss)


@pytest.mark.parametrize(("loss", "gradient"), [(0.0, 1.0), (3.0, 0.0)])
def test_without_a_loss_or_a_gradient_the_unit_stays(moved, loss, gradient):
    scaled = moved.in_units_of_first_step(loss, np.full(np.prod(SHAPE), gradient))
    assert np.array_equal(scaled.factors, moved.factors)


@pytest.mark.parametrize("precondition", [True, False])
def test_the_first_step_costs_one_evaluation_besides_that_of_the_start(objective, precondition):
    function, photo = objective
    for optimizer in ("lbfgs", "scipy"):
        result = optimize(
            function, photo, iterations=1, optimizer=optimizer, precondition=precondition
        )
        assert result.evaluations == 2


@pytest.mark.parametrize("precondition", [True, False])
def test_both_programs_take_the_same_steps(objective, precondition):
    function, photo = objective
    found = [
        optimize(function, photo, iterations=6, optimizer=optimizer, precondition=precondition)
        for optimizer in ("lbfgs", "scipy")
    ]
    assert found[0].evaluations == found[1].evaluations
    assert np.allclose(found[0].image, found[1].image, rtol=0, atol=1e-2)


def test_preconditioning_reaches_the_loss_of_40_evaluations_in_fewer_than_30(objective):
    function, photo = objective
    pixels = optimize(function, photo, iterations=40, precondition=False)
    frequencies = optimize(function, photo, iterations=26)
    assert frequencies.evaluations <= 30
    assert frequencies.loss < pixels.loss
