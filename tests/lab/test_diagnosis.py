"""What the report says about the sort of a mistake."""

import numpy as np
import pytest

from npstyle.lab.gradcheck import check_gradient
from npstyle.maths import total_variation, total_variation_backward


def said(function, backward, x):
    report = check_gradient(function, backward, [x])
    assert not report.passed
    return next(outcome.note for outcome in report.outcomes if outcome.method == "coordinates")


def cubes(x):
    return np.sum(x**3) / 3


def wrong_at(place, change=1.001):
    """The gradient of `cubes`, with some entries changed."""

    def backward(x):
        gradient = x**2
        gradient[place] *= change
        return gradient

    return backward


@pytest.mark.parametrize(
    ("backward", "sort"),
    [
        (lambda x: 0 * x, "the analytic derivative is 0 everywhere"),
        (lambda x: x**2 / 3, "the analytic derivative must be multiplied by 3 everywhere"),
        (lambda x: x**2 + 0.25, "the analytic derivative is too large by 0.25 everywhere"),
        (lambda x: x**2 - 3, "the analytic derivative is too small by 3 everywhere"),
        (lambda x: x[:, ::-1] ** 2, "the analytic derivative is reversed along axis 1"),
        (
            lambda x: x[::-1, :, ::-1] ** 2,
            "the analytic derivative is reversed along the axes 0 and 2",
        ),
        (
            lambda x: np.swapaxes(x**2, 0, 1),
            "axes 0 and 1 of the analytic derivative are exchanged",
        ),
        (
            lambda x: x**2 * np.array([1, 0.5, 0.25]),
            "the analytic derivative must be multiplied by 1, 2, 4 along axis 2",
        ),
        (lambda x: np.abs(x) ** 2.5, "all entries that were compared are wrong"),
        (wrong_at((3, 0, 1)), "1 of the 48 entries that were compared is wrong"),
        (
            wrong_at((slice(None), 2), 0.0),
            "12 of the 48 entries that were compared are wrong, all of them at index 2 of axis 1; "
            "there the analytic derivative is 0",
        ),
    ],
)
def test_the_note_names_the_sort_of_mistake(rng, backward, sort):
    assert said(cubes, backward, rng.standard_normal((4, 4, 3))).endswith(f"; {sort}")


def test_a_forgotten_mask_is_told_by_the_derivatives_that_are_0(rng):
    note = said(lambda x: cubes(np.maximum(x, 0)), lambda x: x**2, rng.standard_normal((5, 6)))
    assert note.endswith("entries that were compared are wrong; there the numeric derivative is 0")


def test_a_mistake_at_the_edges_is_located_there(rng):
    def backward(image):
        gradient = total_variation_backward(image)
        gradient[[0, -1]] *= 2
        gradient[1:-1, [0, -1]] *= 3
        return gradient

    note = said(total_variation, backward, rng.standard_normal((6, 7, 2)))
    assert note.endswith(" are wrong, all of them at the edges of the array")


def test_a_few_wrong_entries_among_many_are_not_called_a_factor(rng):
    """Their least-squares factor is 1.00001, and everything else fits it."""
    note = said(cubes, wrong_at(0, 1.0001), 5 + rng.standard_normal((12, 12)))
    assert "multiplied" not in note
    assert note.endswith("are wrong, all of them at index 0 of axis 0")


def test_the_entries_in_a_note_are_those_of_the_gradient(rng):
    x = 100 * rng.standard_normal((3, 4))
    report = check_gradient(lambda x: np.sum(np.sin(x / 50)), lambda x: np.cos(x / 50) / 49, [x])
    outcome = report.outcomes[0]
    place, _, numbers = outcome.note.partition(": analytic ")
    at = tuple(map(int, place.removeprefix("at (").removesuffix(")").split(", ")))
    analytic, _, numeric = numbers.partition(";")[0].partition(", numeric ")
    assert float(analytic) == pytest.approx(np.cos(x[at] / 50) / 49, rel=1e-5)
    assert float(numeric) == pytest.approx(np.cos(x[at] / 50) / 50, rel=1e-5)
    np.testing.assert_allclose(
        np.array(outcome.compared),
        np.stack([np.cos(x / 50) / 49, np.cos(x / 50) / 50], -1).reshape(-1, 2),
    )
