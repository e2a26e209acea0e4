"""Complex inputs and results, in both conventions."""

import json

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.lab.gradcheck import check_gradient, check_subject
from npstyle.lab.subjects import Subject


def numbers(shape, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


A = numbers((4, 6), 99)

FUNCTIONS = {
    # Name: the function, and its gradient g = df/dx + i df/dy from u = df/dRe F + i df/dIm F.
    "squared size": (lambda z: np.sum(np.abs(z) ** 2), lambda u, z: 2 * u * z),
    "real part of the cube": (lambda z: np.sum(z**3).real, lambda u, z: u * np.conj(3 * z**2)),
    "angle": (
        lambda z: np.sum(np.angle(z) * np.arange(len(z))),
        lambda u, z: u * np.arange(len(z)) * 1j * z / np.abs(z) ** 2,
    ),
    "exp": (np.exp, lambda u, z: u * np.conj(np.exp(z))),
    "cube": (lambda z: z**3, lambda u, z: u * np.conj(3 * z**2)),
    "matrix": (lambda z: A @ z, lambda u, z: A.conj().T @ u),
    "conjugate": (np.conj, lambda u, z: np.conj(u)),
    "size": (np.abs, lambda u, z: u * z / np.abs(z)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_gradients_pass_in_their_convention_and_wrong_ones_do_not(name, seeds):
    function, gradient = FUNCTIONS[name]

    def conjugate(u, z):
        return np.conj(gradient(np.conj(u), z))

    for seed in range(seeds):
        z = numbers(6, seed)

        def check(backward, convention, at=z, seed=seed):
            return check_gradient(function, backward, [at], seed=seed, convention=convention)

        assert check(gradient, "plain").passed, seed
        assert check(conjugate, "conjugate").passed, seed
        for scale in (0.99, 1.01j, np.exp(0.02j)):
            wrong = check(lambda u, z, s=scale: s * gradient(u, z), "plain")
            assert not wrong.passed, seed
        if name != "conjugate":  # whose gradient is the same in both
            for found in (check(conjugate, "plain"), check(gradient, "conjugate")):
                assert not found.passed, seed
                assert 'it agrees with convention="' in found.outcomes[0].note
                json.dumps(found.as_dict(), allow_nan=False)


def test_both_parts_of_a_complex_result_of_real_inputs_are_checked(seeds):
    def function(x):
        return np.exp(1j * x) + x**2

    for seed in range(seeds):
        x = np.random.default_rng(seed).standard_normal(8)

        def check(backward, x=x, seed=seed):
            return check_gradient(function, backward, [x], seed=seed).passed

        assert check(lambda u, x: np.real(np.conj(u) * (1j * np.exp(1j * x) + 2 * x)))
        assert not check(lambda u, x: u.real * (2 * x - np.sin(x)))  # of the real part alone
        assert not check(lambda u, x: u.imag * np.cos(x))


def test_a_complex_gradient_of_a_real_input_is_refused():
    with pytest.raises(InputError, match="return the real part"):
        check_gradient(lambda x: np.exp(1j * x), lambda u, x: u, [np.ones(3)])


def test_complex64_has_the_precision_of_float32():
    z = numbers(6, 1).astype(np.complex64)
    assert check_gradient(np.square, lambda u, z: u * np.conj(2 * z), [z]).passed
    assert not check_gradient(np.square, lambda u, z: 1.05 * u * np.conj(2 * z), [z]).passed


@pytest.mark.parametrize("convention", ["plain", "conjugate"])
def test_the_adjoint_test_uses_the_conjugate_transpose(convention):
    at, T = numbers(6, 2), A.conj().T if convention == "plain" else A.T

    def check(matrix):
        subject = Subject(
            "A z",
            lambda z: A @ z,
            lambda u, z: matrix @ u,
            (at,),
            linear=(0,),
            convention=convention,
        )
        return {o.method: o.passed for o in check_subject(subject).outcomes}

    assert all(check(T).values())
    assert not check(T.conj())["adjoint"]
