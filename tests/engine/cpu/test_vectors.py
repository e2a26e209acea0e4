import numpy as np
import pytest

from npstyle.engine.cpu.vectors import STRIP, combination, inner_products
from npstyle.engine.disk import in_memory, on_disk


def rows_of(rng, tmp_path, kind, length):
    """Seven rows of random numbers, as float64, as float32, or as float32 in a file."""
    make = on_disk(tmp_path) if kind == "a file" else in_memory
    basis = make((7, length), np.float64 if kind == "float64" else np.float32, "the history")
    basis[:] = rng.standard_normal(basis.shape)
    return basis


EXACT = {"float64": 1e-14, "float32": 1e-6, "a file": 1e-6}
"""Largest error of a sum of numbers around 1, for each number."""

KINDS = pytest.mark.parametrize("kind", ["float64", "float32", "a file"])
LENGTHS = pytest.mark.parametrize("length", [1, STRIP, 3 * STRIP + 5])


@KINDS
@LENGTHS
def test_inner_products_agree_with_one_matrix_product(rng, tmp_path, kind, length):
    basis = rows_of(rng, tmp_path, kind, length)
    whole = np.asarray(basis, np.float64)
    found = inner_products(basis, basis[5])
    assert found.dtype == np.float64
    expected = whole @ whole[5]
    assert np.allclose(found, expected, rtol=0, atol=EXACT[kind] * length)


@KINDS
@LENGTHS
def test_a_combination_agrees_with_one_matrix_product(rng, tmp_path, kind, length):
    basis = rows_of(rng, tmp_path, kind, length)
    c = rng.standard_normal(7)
    found = combination(c, basis)
    assert found.dtype == basis.dtype
    assert np.allclose(found, c @ np.asarray(basis, np.float64), rtol=0, atol=7 * EXACT[kind])
