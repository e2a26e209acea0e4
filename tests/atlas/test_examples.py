import re

import numpy as np
import pytest

from npstyle.atlas.examples import examples, grids, jacobian, read_by

EXAMPLES = {example.name: example for example in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_derivatives_that_are_shown_are_those_of_the_function(name):
    example = EXAMPLES[name]
    h = 1e-6
    for flat in range(example.x.size):
        if name == "relu" and not example.x.flat[flat]:
            continue  # at the kink
        change = np.zeros_like(example.x)
        change.flat[flat] = h
        numeric = (example.function(example.x + change) - example.function(example.x - change)) / (
            2 * h
        )
        np.testing.assert_allclose(jacobian(example)[:, flat], numeric.ravel(), atol=1e-7)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_output_depends_on_the_inputs_that_it_reads_and_on_no_other(name):
    example = EXAMPLES[name]
    reads = read_by(example)
    assert not np.any((jacobian(example) != 0) & ~reads)
    rng = np.random.default_rng(0)
    for flat in range(example.x.size):
        changed = example.x.copy()
        changed.flat[flat] += 10 * rng.standard_normal()
        differs = (example.function(changed) != example.function(example.x)).ravel()
        assert not np.any(differs & ~reads[:, flat])


def test_no_number_is_minus_zero():
    for example in EXAMPLES.values():
        cells = [c.value for grid in grids(example) for row in grid.rows for c in row]
        assert "−0" not in cells, example.name


def test_a_corner_of_a_convolution_reads_four_numbers_and_the_middle_nine():
    counts = read_by(EXAMPLES["conv2d"]).sum(axis=1).reshape(5, 5)
    assert counts[0, 0] == 4
    assert counts[2, 2] == 9


def test_max_pooling_reads_a_window_and_sends_the_gradient_to_its_winner():
    example = EXAMPLES["max_pool2d"]
    assert set(read_by(example).sum(axis=1)) == {4}
    assert set((jacobian(example) != 0).sum(axis=1)) == {1}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_said_about_a_gradient_adds_up(name):
    example = EXAMPLES[name]
    for cell in (cell for row in grids(example)[-2].rows for cell in row):
        terms, value = re.fullmatch(
            r"[^=]* = (.*?)(?:: nothing arrives| = (\S+))", cell.says
        ).groups()
        numbers = [
            np.prod([float(f) for f in term.split(" × ")])
            for term in terms.replace("−", "-").split(" + ")
        ]
        expected = float((value or "0").replace("−", "-"))
        assert sum(numbers) == pytest.approx(expected, rel=0.02, abs=0.02)


def test_the_ids_of_all_cells_are_different_and_every_light_is_one_of_them():
    cells = [c for e in EXAMPLES.values() for grid in grids(e) for row in grid.rows for c in row]
    ids = {cell.id for cell in cells}
    assert len(ids) == len(cells)
    for cell in cells:
        assert set(cell.lights.split()) <= ids


def test_the_gram_example_is_shown_as_channels_by_positions():
    [F] = [grid for grid in grids(EXAMPLES["gram"]) if grid.name == "input F"]
    assert (len(F.rows), len(F.rows[0])) == (3, 4)
    [G] = [grid for grid in grids(EXAMPLES["gram"]) if grid.name == "output G"]
    assert G.rows[0][1].lights.split() == [f"gram-x{k}" for k in (0, 1, 3, 4, 6, 7, 9, 10)]
