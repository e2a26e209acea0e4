"""The search on a GPU agrees with SciPy's on the host."""

import numpy as np
import pytest
import scipy.optimize

from npstyle.engine import cpu, cuda
from npstyle.engine.losses import Evaluation
from npstyle.search.optimize import optimize
from tests.engine.cuda.gpus import back, needed, to

pytestmark = needed

TARGET = np.array([[[-40.0, 10.0, 200.0], [300.0, 128.0, 0.0]], [[60.0, 20.0, 30.0]] * 2])


def hill(pixels):
    """A sum of fourth powers whose minimum is outside the box in two coordinates."""
    assert hasattr(pixels, "__cuda_array_interface__")
    difference = pixels - to(TARGET)
    loss = float((difference**4 / 1e4).sum())
    return Evaluation(loss, 4 * difference**3 / 1e4, {"content x": loss})


def hill_on_the_cpu(pixels):
    return hill(to(pixels))._replace(gradient=back(hill(to(pixels)).gradient))


ROUNDING = 1e-2
"""Difference of pixels 0..255: the coordinates of the search are float32."""


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_search_agrees_with_the_cpus_at_every_iteration(optimizer):
    start = np.full(TARGET.shape, 100.0)
    seen = {}
    results = []
    for engine, function in [(cuda, hill), (cpu, hill_on_the_cpu)]:
        reports = seen[engine] = []
        results.append(
            optimize(
                function,
                start,
                iterations=12,
                optimizer=optimizer,
                engine=engine,
                callback=lambda p, to=reports: to.append((p.iteration, p.loss, p.best_image)),
            )
        )
    on_gpu, on_cpu = results
    assert type(on_gpu.image) is np.ndarray
    assert on_gpu.image == pytest.approx(on_cpu.image, rel=1e-6, abs=ROUNDING)
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-4)
    assert on_gpu.parts == {"content x": on_gpu.loss}
    assert (on_gpu.iterations, on_gpu.stopped) == (12, "iterations")
    assert (on_cpu.iterations, on_cpu.stopped) == (12, "iterations")
    for (step, loss, image), (expected_step, expected_loss, expected) in zip(
        seen[cuda], seen[cpu], strict=True
    ):
        assert (step, loss) == (expected_step, pytest.approx(expected_loss, rel=1e-4))
        assert image == pytest.approx(expected, rel=1e-6, abs=ROUNDING)


def test_an_interruption_or_a_gradient_of_nan_keeps_the_best_image():
    def interrupt(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    start = to(np.full(TARGET.shape, 100.0))
    result = optimize(hill, start, iterations=9, callback=interrupt, engine=cuda)
    assert (result.stopped, result.iterations) == ("interrupted", 2)
    assert hill_on_the_cpu(result.image).loss == pytest.approx(result.loss)
    calls = []

    def poisoned(pixels):
        calls.append(pixels)
        good = hill(pixels)
        return good if len(calls) < 3 else good._replace(gradient=good.gradient * np.nan)

    result = optimize(poisoned, start, iterations=9, engine=cuda)
    assert (result.stopped, result.evaluations) == ("not finite", 3)
    assert np.array_equal(result.image, back(calls[1]))


def test_without_a_descent_step_left_the_box_becomes_bounds(monkeypatch):
    bounded = []
    scipys = scipy.optimize.minimize
    monkeypatch.setattr(
        scipy.optimize, "minimize", lambda *a, **k: bounded.append(k["bounds"]) or scipys(*a, **k)
    )

    lowest = np.clip(TARGET, 0, 255)
    result = optimize(hill, to(lowest), iterations=50, engine=cuda)
    assert result.stopped == "converged"
    assert [bounds is not None for bounds in bounded] == [True]
    assert np.allclose(result.image, lowest, rtol=0, atol=1e-12)
