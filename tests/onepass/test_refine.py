import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.losses import Evaluation, Losses
from npstyle.engine.objective import StyleObjective
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.lab.feedforward import small_painter
from npstyle.maths.conditional import conditioned
from npstyle.maths.layers import InstanceNorm
from npstyle.networks.style_network import StyleNetwork
from npstyle.onepass.refine import code_numbers, evaluate_style, norm_numbers, refine
from npstyle.onepass.stylize import bind_style_network, paint
from tests.numeric import central_difference, relative_error

CODE = np.array([0.3, -0.7])
PHOTO = draw_photo(17, 22)
NUMBERS = [code_numbers, norm_numbers]


@pytest.fixture
def painter(rng):
    """A small network that paints, in float64, pixels beyond 255 among them."""
    network = StyleNetwork(
        name="small painter",
        transformer=tuple(small_painter(rng)),
        predictor=(),
        code=2,
        channel_order="BGR",
        mean=(127.5, 127.5, 127.5),
        scale=(0.01, 0.01, 0.01),
        output_scale=300.0,
        source="",
        license="",
        source_sha256="",
    )
    return bind_style_network(network, dtype=np.float64)


@pytest.fixture
def objective(small_network):
    losses = Losses(
        content_layers={"conv2_1": 1.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 0.5},
        content_weight=1.0,
        style_weight=1e3,
        tv_weight=1e-4,
        scaling="means",
    )
    return StyleObjective(bind(small_network), PHOTO, draw_painting(20, 24), losses)


def function_of(objective):
    def function(flat):
        found = objective(flat.reshape(PHOTO.shape))
        return found.loss, found.gradient.ravel()

    return function


@pytest.mark.parametrize("numbers_of", NUMBERS)
def test_the_gradient_is_that_of_central_differences(painter, objective, numbers_of):
    numbers, function = numbers_of(painter, CODE), function_of(objective)

    def loss(v):
        return evaluate_style(painter, PHOTO, numbers, function, v)[0]

    _, gradient = evaluate_style(painter, PHOTO, numbers, function, numbers.start)
    expected = central_difference(loss, numbers.start.copy(), 1e-6)
    assert relative_error(gradient, expected) <= 1e-6


def test_pixels_beyond_the_box_are_clipped_and_pass_no_gradient(painter):
    picture = paint(painter, PHOTO, CODE)
    assert 0.1 < np.mean(picture > 255) < 0.9

    def only_beyond(flat):
        assert flat.max() == 255
        return 1.0, np.where(picture.ravel() > 255, 1.0, 0.0)

    numbers = code_numbers(painter, CODE)
    _, gradient = evaluate_style(painter, PHOTO, numbers, only_beyond, CODE)
    assert np.all(gradient == 0)


def test_the_scales_and_shifts_start_as_those_of_the_code_in_units_of_their_size(painter):
    numbers = norm_numbers(painter, CODE)
    found = numbers.norms(numbers.start)
    layers = conditioned(painter.network.transformer, CODE)
    expected = {layer.name: layer for layer in layers if isinstance(layer, InstanceNorm)}
    assert found.keys() == expected.keys()
    for name, norm in found.items():
        assert np.allclose(norm.scale, expected[name].scale, rtol=1e-14)
        assert np.allclose(norm.shift, expected[name].shift, rtol=1e-14)
    for part in np.split(numbers.start, 4):
        assert np.mean(part**2) == pytest.approx(1)


@pytest.mark.parametrize("numbers_of", NUMBERS)
def test_the_loss_falls_and_is_that_of_the_picture(painter, objective, numbers_of):
    seen = []
    found = refine(
        painter, PHOTO, numbers_of(painter, CODE), objective, iterations=8, callback=seen.append
    )
    before = np.clip(paint(painter, PHOTO, CODE), 0, 255)
    assert found.loss_before == pytest.approx(objective(before).loss, rel=1e-12)
    assert found.result.loss == pytest.approx(objective(found.result.image).loss, rel=1e-12)
    assert found.result.loss < found.loss_before
    assert [progress.iteration for progress in seen] == list(range(1, 9))
    assert found.result.iterations == 8
    assert found.result.stopped == "iterations"


def test_ctrl_c_keeps_the_best_picture_so_far(painter, objective):
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == 3:
            raise KeyboardInterrupt

    numbers = code_numbers(painter, CODE)
    found = refine(painter, PHOTO, numbers, objective, iterations=50, callback=interrupt)
    assert found.result.stopped == "interrupted"
    assert found.result.iterations == 3
    assert found.result.loss == min(progress.loss for progress in seen) < found.loss_before
    assert np.array_equal(found.result.image, seen[-1].best)


def test_a_loss_that_is_not_finite_ends_the_search(painter, objective):
    calls = []

    def overflows(pixels):
        calls.append(pixels)
        found = objective(pixels)
        return found if len(calls) < 3 else Evaluation(np.inf, found.gradient, found.parts)

    found = refine(painter, PHOTO, code_numbers(painter, CODE), overflows, iterations=50)
    assert found.result.stopped == "not finite"
    assert found.result.loss <= found.loss_before
