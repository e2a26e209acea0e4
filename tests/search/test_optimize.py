import numpy as np
import pytest

from npstyle.engine.losses import Evaluation
from npstyle.errors import InputError
from npstyle.search.memory import history_bytes
from npstyle.search.optimize import History, optimize

TARGET = np.array([[[-40.0, 10.0, 200.0], [300.0, 128.0, 0.0]]])
START = np.full((1, 2, 3), 100.0)


def bowl(pixels):
    """A quadratic whose minimum lies outside the box in two coordinates."""
    difference = pixels - TARGET
    loss = float(np.sum(difference**2))
    return Evaluation(loss, 2 * difference, {"content x": loss})


@pytest.mark.parametrize(("optimizer", "iterations"), [("lbfgs", 80), ("scipy", 80), ("adam", 400)])
def test_the_search_finds_the_minimum_within_the_box(optimizer, iterations):
    result = optimize(bowl, START, iterations=iterations, optimizer=optimizer)
    assert np.allclose(result.image, np.clip(TARGET, 0, 255), rtol=0, atol=1e-3)
    assert result.loss == pytest.approx(bowl(result.image).loss)
    assert result.parts == {"content x": result.loss}


@pytest.mark.parametrize("optimizer", ["lbfgs", "scipy", "adam"])
def test_the_callback_gets_the_loss_its_terms_and_the_image_of_every_iteration(optimizer):
    seen = []

    def rough(pixels):
        difference = pixels - np.clip(TARGET, 0, 255)
        loss = float(np.sum(difference**4))
        return Evaluation(loss, 4 * difference**3, {"style x": loss})

    result = optimize(
        rough,
        START,
        iterations=5,
        optimizer=optimizer,
        callback=lambda p: seen.append((p.iteration, p.loss, rough(p.image).loss, p.parts)),
    )
    assert [iteration for iteration, *_ in seen] == [1, 2, 3, 4, 5]
    for _, loss, loss_of_image, parts in seen:
        assert loss == pytest.approx(loss_of_image, rel=1e-12)
        assert parts == {"style x": loss}
    assert result.stopped == "iterations"
    assert result.iterations == 5
    assert result.evaluations >= 5
    assert result.loss == min(loss for _, loss, *_ in seen)


@pytest.mark.parametrize("optimizer", ["lbfgs", "scipy", "adam"])
def test_an_interrupted_search_returns_the_best_image_so_far(optimizer):
    def interrupt(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    losses = []

    def recorded(pixels):
        losses.append(bowl(pixels).loss)
        return bowl(pixels)

    result = optimize(recorded, START, iterations=50, optimizer=optimizer, callback=interrupt)
    assert result.stopped == "interrupted"
    assert result.loss == min(losses) < losses[0]
    assert bowl(result.image).loss == result.loss


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_search_with_the_best_image(poison, where):
    calls = []

    def poisoned(pixels):
        calls.append(pixels.copy())
        good = bowl(pixels)
        if len(calls) < 3:
            return good
        gradient = good.gradient.copy()
        gradient[0, 0, 0] = poison
        return good._replace(loss=poison) if where == "loss" else good._replace(gradient=gradient)

    result = optimize(poisoned, START, iterations=50, optimizer="adam")
    assert result.stopped == "not finite"
    assert len(calls) == 3
    assert result.loss == bowl(calls[1]).loss
    assert np.array_equal(result.image, calls[1])


def test_a_search_whose_first_loss_is_not_finite_has_no_terms():
    bad = Evaluation(float("nan"), np.zeros_like(START), {})
    result = optimize(lambda _: bad, START, iterations=5)
    assert result.stopped == "not finite"
    assert result.parts == {}


@pytest.mark.parametrize("optimizer", ["lbfgs", "scipy", "adam"])
def test_every_image_evaluated_lies_in_the_box(optimizer):
    def watched(pixels):
        assert np.all((pixels >= 0) & (pixels <= 255))
        return bowl(pixels)

    optimize(watched, START, iterations=30, optimizer=optimizer)


def test_lbfgs_stops_at_the_minimum_before_the_last_iteration():
    result = optimize(bowl, np.clip(TARGET, 0, 255), iterations=50)
    assert result.stopped == "converged"


def test_the_starting_image_stays_unchanged():
    start = START.copy()
    optimize(bowl, start, iterations=5)
    assert np.array_equal(start, START)


def test_a_float32_history_leads_to_the_same_minimum_without_scipy(monkeypatch):
    monkeypatch.setattr("scipy.optimize.minimize", None)  # a call would fail
    asked_for = []

    def allocate(shape, dtype, name):
        asked_for.append((shape, np.dtype(dtype).itemsize))
        return np.zeros(shape, dtype)

    inside = np.clip(TARGET, 20, 235)

    def bowl_inside(pixels):
        difference = pixels - inside
        loss = float(np.sum(difference**2))
        return Evaluation(loss, 2 * difference, {"content x": loss})

    result = optimize(bowl_inside, START, iterations=40, history=History(3, allocate))
    assert np.allclose(result.image, inside, rtol=0, atol=0.01)
    assert asked_for == [((9, START.size), 4)]
    assert history_bytes(3, START.shape[:2]) == 9 * START.size * 4


@pytest.mark.parametrize("with_terms", [False, True])
def test_an_objective_of_ones_own_returns_a_plain_tuple(with_terms):
    def own(pixels):
        found = bowl(pixels)
        return tuple(found) if with_terms else (found.loss, found.gradient)

    result, expected = (optimize(f, START, iterations=20) for f in (own, bowl))
    np.testing.assert_array_equal(result.image, expected.image)
    assert result.parts == (expected.parts if with_terms else {})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (3.0, r"must return \(loss, gradient\)"),
        ((3.0, np.zeros((2, 3))), r"gradient of shape \(2, 3\); the image has \(1, 2, 3\)"),
    ],
)
def test_an_objective_that_returns_something_else_is_refused(found, says):
    with pytest.raises(InputError, match=says):
        optimize(lambda pixels: found, START, iterations=1)
