"""The search on a card, against SciPy's on the host."""

import numpy as np
import pytest

from npstyle.engine.cuda import vectors as gpu_search
from npstyle.engine.objective import Evaluation
from npstyle.search import optimize as optimizers
from npstyle.search.box import mirror, mirror_backward
from npstyle.search.optimize import optimize
from tests.engine.cuda.cards import back, needed, to

pytestmark = needed

TARGET = np.array([[[-40.0, 10.0, 200.0], [300.0, 128.0, 0.0]], [[60.0, 20.0, 30.0]] * 2])


def hill(pixels):
    """A sum of fourth powers whose lowest point lies outside of the box in two coordinates."""
    assert on_gpu(pixels)
    difference = pixels - to(TARGET)
    loss = float((difference**4 / 1e4).sum())
    return Evaluation(loss, 4 * difference**3 / 1e4, {"content x": loss})


def hill_on_the_host(pixels):
    return hill(to(pixels))._replace(gradient=back(hill(to(pixels)).gradient))


def test_mirror_and_back(rng):
    z = np.append(rng.uniform(-2000, 2000, 600), [0.0, 255.0, 510.0, -255.0])
    g = rng.standard_normal(z.shape)
    assert np.array_equal(back(mirror(to(z))), mirror(z))
    assert np.array_equal(back(mirror_backward(to(g), to(z))), mirror_backward(g, z))


@pytest.mark.parametrize("count", [3, 2100, 5000])
def test_inner_products_and_sums_of_rows(rng, count):
    basis = rng.standard_normal((7, count))
    found = gpu_search.inner_products(to(basis), (2, 5, 6))
    assert type(found) is np.ndarray
    assert found == pytest.approx(basis @ basis[[2, 5, 6]].T, rel=1e-10, abs=1e-10)
    c = rng.standard_normal(7)
    assert back(gpu_search.combination(c, to(basis))) == pytest.approx(c @ basis)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_it_ends_where_the_hosts_does_and_tells_the_same_on_the_way(optimizer):
    start = np.full(TARGET.shape, 100.0)
    seen = {}
    results = []
    for where, place, function in [("card", to, hill), ("host", np.asarray, hill_on_the_host)]:
        told = seen[where] = []
        results.append(
            optimize(
                function,
                place(start),
                iterations=12,
                optimizer=optimizer,
                callback=lambda p, told=told: told.append((p.iteration, p.loss, p.best_image)),
            )
        )
    card, host = results
    assert type(card.image) is np.ndarray
    assert card.image == pytest.approx(host.image, rel=1e-6)
    assert card.loss == pytest.approx(host.loss)
    assert card.parts == {"content x": card.loss}
    assert (card.iterations, card.stopped) == (host.iterations, host.stopped) == (12, "iterations")
    for (step, loss, image), (expected_step, expected_loss, expected) in zip(
        seen["card"], seen["host"], strict=True
    ):
        assert (step, loss) == (expected_step, pytest.approx(expected_loss))
        assert image == pytest.approx(expected, rel=1e-6)


def test_interruption_and_a_loss_that_is_no_number_keep_the_best_image():
    def interrupt(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    start = to(np.full(TARGET.shape, 100.0))
    result = optimize(hill, start, iterations=9, callback=interrupt)
    assert (result.stopped, result.iterations) == ("interrupted", 2)
    assert hill_on_the_host(result.image).loss == pytest.approx(result.loss)
    calls = []

    def poisoned(pixels):
        calls.append(pixels)
        good = hill(pixels)
        return good if len(calls) < 3 else good._replace(gradient=good.gradient * np.nan)

    result = optimize(poisoned, start, iterations=9)
    assert (result.stopped, result.evaluations) == ("not finite", 3)
    assert np.array_equal(result.image, back(calls[1]))


def test_where_no_step_goes_down_any_more_the_box_becomes_bounds(monkeypatch):
    bounded = []
    scipys = optimizers.minimize
    monkeypatch.setattr(
        optimizers, "minimize", lambda *a, **k: bounded.append(k["bounds"]) or scipys(*a, **k)
    )

    def anywhere(pixels):
        return hill(pixels) if on_gpu(pixels) else hill_on_the_host(pixels)

    lowest = np.clip(TARGET, 0, 255)
    result = optimize(anywhere, to(lowest), iterations=50)
    assert result.stopped == "converged"
    assert [bounds is not None for bounds in bounded] == [True]
    assert np.array_equal(result.image, lowest)
