"""Wrong forward derivatives and Hessian-vector products must all be caught, the right ones pass."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.lab.gradcheck import check_gradient, check_subject
from npstyle.lab.subjects import Subject
from npstyle.maths import (
    avg_pool2d,
    avg_pool2d_backward,
    content_loss,
    content_loss_backward,
    conv2d,
    conv2d_backward,
    conv2d_backward_weights,
    gram,
    gram_backward,
    relu,
    relu_backward,
    style_loss,
    style_loss_backward,
)


def conv(rng):
    """Bilinear in picture and kernel: J (v, w, b) is the sum of three convolutions."""

    def function(x, k, b):
        return conv2d(x, k, b, 1, 1)

    def backward(g, x, k, b):
        return conv2d_backward(g, k, x.shape, 1, 1), *conv2d_backward_weights(g, x, (3, 3), 1, 1)

    def jvp(inputs, tangents):
        (x, k, _), (v, w, c) = inputs, tangents
        return conv2d(v, k, 0 * c, 1, 1) + conv2d(x, w, c, 1, 1)

    sizes = (4, 5, 2), (3, 3, 2, 2), (2,)
    inputs = tuple(map(rng.standard_normal, sizes))
    return Subject("conv2d", function, backward, inputs, smooth=(0, 1, 2), jvp=jvp)


def rectifier(rng):
    return Subject(
        "relu",
        relu,
        lambda g, z: relu_backward(g, relu(z)),
        (rng.standard_normal((4, 5)),),
        pattern=lambda z: (relu(z), np.sign(z)),
        jvp=lambda inputs, tangents: tangents[0] * (inputs[0] > 0),
    )


def pooling(rng):
    return Subject(
        "avg_pool2d",
        lambda x: avg_pool2d(x, 2, 2),
        lambda g, x: avg_pool2d_backward(g, x.shape, 2, 2),
        (rng.standard_normal((4, 6, 2)),),
        smooth=(0,),
        jvp=lambda inputs, tangents: avg_pool2d(tangents[0], 2, 2),
    )


def flat(F):
    return F.reshape(-1, F.shape[-1])


def grams(rng):
    def jvp(inputs, tangents):
        F, V = flat(inputs[0]), flat(tangents[0])
        return F.T @ V + V.T @ F

    x = rng.standard_normal((3, 4, 3))
    return Subject("gram", gram, gram_backward, (x,), smooth=(0,), jvp=jvp)


def content(rng):
    F, P = rng.standard_normal((2, 3, 4, 2))
    return Subject(
        "content loss",
        lambda F: content_loss(F, P),
        lambda g, F: g * content_loss_backward(F, P),
        (F,),
        jvp=lambda inputs, tangents: np.sum((inputs[0] - P) * tangents[0]),
        hvp=lambda inputs, tangents: (tangents[0],),
    )


def style(rng):
    """E = 1/(4 N^2) |G/M - A|^2, so H v = 1/(N^2 M) (V (G/M - A) + F (F^T V + V^T F)/M)."""
    F, P = rng.standard_normal((2, 3, 4, 3))
    A = gram(P) / 12

    def hvp(inputs, tangents):
        F, V = flat(inputs[0]), flat(tangents[0])
        change = (F.T @ V + V.T @ F) / 12
        return (((V @ (F.T @ F / 12 - A) + F @ change) / (9 * 12)).reshape(inputs[0].shape),)

    return Subject(
        "style loss",
        lambda F: style_loss(F, A),
        lambda g, F: g * style_loss_backward(F, A),
        (F,),
        smooth=(0,),
        jvp=lambda inputs, tangents: np.sum(style_loss_backward(inputs[0], A) * tangents[0]),
        hvp=hvp,
    )


def product(rng):
    """A loss of two inputs, 1/2 |x w|^2, whose Hessian has blocks off the diagonal."""
    x, w = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))

    def hvp(inputs, tangents):
        (x, w), (v, u) = inputs, tangents
        y, change = x @ w, v @ w + x @ u
        return change @ w.T + y @ u.T, v.T @ y + x.T @ change

    return Subject(
        "product",
        lambda x, w: np.sum((x @ w) ** 2) / 2,
        lambda g, x, w: (g * x @ w @ w.T, g * x.T @ x @ w),
        (x, w),
        jvp=lambda xs, vs: np.sum(xs[0] @ xs[1] * (vs[0] @ xs[1] + xs[0] @ vs[1])),
        hvp=hvp,
    )


RIGHT = (conv, rectifier, pooling, grams, content, style, product)


def wrong_conv(jvp):
    return lambda rng: replace(conv(rng), jvp=lambda inputs, tangents: jvp(*inputs, *tangents))


def wrong_grams(jvp):
    return lambda rng: replace(grams(rng), jvp=lambda xs, vs: jvp(flat(xs[0]), flat(vs[0])))


def wrong_style(hvp):
    def made(F, V):
        A = np.eye(3)
        return hvp(F, V, F.T @ F / 12, A) / (9 * 12)

    def build(rng):
        F = rng.standard_normal((12, 3))
        shape = (3, 4, 3)
        return Subject(
            "style loss",
            lambda F: style_loss(F, np.eye(3)),
            lambda g, F: g * style_loss_backward(F, np.eye(3)),
            (F.reshape(shape),),
            hvp=lambda xs, vs: (made(flat(xs[0]), flat(vs[0])).reshape(shape),),
        )

    return build


def right_hvp(F, V, G, A):
    return V @ (G - A) + F @ (F.T @ V + V.T @ F) / 12


def wrong_product(hvp):
    return lambda rng: replace(product(rng), hvp=lambda xs, vs: hvp(*xs, *vs))


MUTATIONS = {
    "jvp_of_the_picture_alone": wrong_conv(
        lambda x, k, b, v, w, c: conv2d(v, k, 0 * c, 1, 1) + conv2d(x, 0 * w, c, 1, 1)
    ),
    "jvp_without_the_bias": wrong_conv(
        lambda x, k, b, v, w, c: conv2d(v, k, 0 * c, 1, 1) + conv2d(x, w, 0 * c, 1, 1)
    ),
    "jvp_keeps_the_bias": wrong_conv(
        lambda x, k, b, v, w, c: conv2d(v, k, b, 1, 1) + conv2d(x, w, c, 1, 1)
    ),
    "jvp_kernel_flipped": wrong_conv(
        lambda x, k, b, v, w, c: conv2d(v, k[::-1, ::-1], 0 * c, 1, 1) + conv2d(x, w, c, 1, 1)
    ),
    "jvp_counts_the_product_of_changes": wrong_conv(
        lambda x, k, b, v, w, c: conv2d(v, k + w, 0 * c, 1, 1) + conv2d(x, w, c, 1, 1)
    ),
    "jvp_mask_of_the_tangent": lambda rng: replace(
        rectifier(rng), jvp=lambda xs, vs: vs[0] * (vs[0] > 0)
    ),
    "jvp_mask_forgotten": lambda rng: replace(rectifier(rng), jvp=lambda xs, vs: vs[0]),
    "jvp_pooling_without_the_mean": lambda rng: replace(
        pooling(rng), jvp=lambda xs, vs: 4 * avg_pool2d(vs[0], 2, 2)
    ),
    "jvp_pooling_of_the_input": lambda rng: replace(
        pooling(rng), jvp=lambda xs, vs: avg_pool2d(xs[0], 2, 2)
    ),
    "jvp_gram_of_one_factor": wrong_grams(lambda F, V: F.T @ V),
    "jvp_gram_doubled_instead_of_transposed": wrong_grams(lambda F, V: 2 * F.T @ V),
    "jvp_gram_of_the_tangent": wrong_grams(lambda F, V: V.T @ V),
    "jvp_off_by_1e-9": wrong_grams(lambda F, V: (F.T @ V + V.T @ F) * (1 + 1e-9)),
    "hvp_without_the_first_term": wrong_style(lambda F, V, G, A: F @ (F.T @ V + V.T @ F) / 12),
    "hvp_without_the_second_term": wrong_style(lambda F, V, G, A: V @ (G - A)),
    "hvp_not_symmetric": wrong_style(lambda F, V, G, A: V @ (G - A) + 2 * F @ (V.T @ F) / 12),
    "hvp_of_another_gram": wrong_style(lambda F, V, G, A: right_hvp(F, V, G, 2 * A)),
    "hvp_of_the_wrong_sign": wrong_style(lambda F, V, G, A: -right_hvp(F, V, G, A)),
    "hvp_of_gauss_and_newton": wrong_product(
        lambda x, w, v, u: ((v @ w + x @ u) @ w.T, x.T @ (v @ w + x @ u))
    ),
    "hvp_without_the_blocks_off_the_diagonal": wrong_product(
        lambda x, w, v, u: (v @ w @ w.T, x.T @ x @ u)
    ),
    "hvp_with_one_block_transposed": wrong_product(
        lambda x, w, v, u: (
            (v @ w + x @ u) @ w.T + x @ w @ u.T,
            2 * v.T @ (x @ w) + x.T @ (v @ w + x @ u),
        )
    ),
    "hvp_of_a_content_loss_times_two": lambda rng: replace(
        content(rng), hvp=lambda xs, vs: (2 * vs[0],)
    ),
}


def failures(subject, seed):
    report = check_subject(subject, samples=10, directions=3, seed=seed)
    return [outcome for outcome in report.outcomes if not outcome.passed]


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_forward_derivative_is_caught(name, seeds):
    for seed in range(1, 2 + seeds):
        found = failures(MUTATIONS[name](np.random.default_rng(seed)), seed)
        assert found, seed
        assert all(outcome.method[:3] in ("jvp", "hvp") for outcome in found)


@pytest.mark.parametrize("build", RIGHT)
def test_right_forward_derivatives_pass(build, seeds):
    for seed in range(2 + seeds):
        assert not failures(build(np.random.default_rng(seed)), seed)


def test_every_method_checks_a_forward_derivative():
    methods = {o.method for o in check_subject(style(np.random.default_rng(0))).outcomes}
    jvp = {"jvp", "jvp taylor", "jvp complex", "jvp adjoint"}
    hvp = {"hvp", "hvp taylor", "hvp complex", "hvp symmetry"}
    assert jvp | hvp < methods


def test_the_identity_sees_errors_that_differences_do_not():
    subject = MUTATIONS["jvp_off_by_1e-9"](np.random.default_rng(0))
    found = {o.method: o.error for o in failures(replace(subject, smooth=()), 0)}
    assert list(found) == ["jvp adjoint"]
    assert 1e-13 < found["jvp adjoint"] < 1e-8


def test_a_right_derivative_whose_terms_cancel_is_not_accused():
    """Near 1e6 the formula mean(x v) - mean(x) mean(v) is rounded in its 10th decimal."""
    x = np.random.default_rng(0).standard_normal(20) + 1e6

    def check(factor):
        report = check_gradient(
            lambda x: np.sum((x - x.mean()) ** 2) / 20,
            lambda x: 2 * (x - x.mean()) / 20,
            [x],
            jvp=lambda x, v: factor * (np.mean(x * v) - x.mean() * v.mean()),
        )
        return next(o for o in report.outcomes if o.method == "jvp adjoint")

    assert check(2).passed, check(2)
    assert not check(2.001).passed


def test_without_a_backward_function_the_contributions_of_the_inputs_must_add_up():
    x, w = np.random.default_rng(0).standard_normal((2, 3, 3))

    def check(jvp):
        return check_gradient(lambda x, w: x @ w, None, [x, w], jvp=jvp)

    right = check(lambda x, w, v, u: v @ w + x @ u)
    assert right.passed
    assert {o.method for o in right.outcomes} == {"jvp", "jvp taylor", "jvp sum"}
    wrong = check(lambda x, w, v, u: v @ w + x @ u + v @ u)
    assert [o.method for o in wrong.outcomes if not o.passed] == ["jvp sum"]


def test_several_outputs_and_fixed_inputs_have_forward_derivatives():
    x, mask = np.random.default_rng(0).standard_normal((2, 3, 4))

    def check(jvp, **options):
        return check_gradient(
            lambda x, mask: (np.sin(x), np.sum(mask * x)),
            lambda u, x, mask: u[0] * np.cos(x) + u[1] * mask,
            [x, mask],
            jvp=jvp,
            fixed="mask",
        )

    def right(inputs, tangents):
        assert tangents[1] is None
        return np.cos(inputs[0]) * tangents[0], np.sum(inputs[1] * tangents[0])

    assert check(right).passed
    assert check(lambda x, mask, v: right((x, mask), (v, None))).passed
    assert not check(lambda x, mask, v: (np.cos(x) * v, np.sum(v))).passed
    assert not check(lambda x, mask, v: (np.cos(x) * v * mask, np.sum(mask * v))).passed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_derivatives_in_either_precision(dtype):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(dtype)

    def check(factor):
        return check_gradient(
            lambda x: np.sum(x**3),
            lambda x: 3 * x**2,
            [x],
            jvp=lambda x, v: np.sum(3 * x**2 * v),
            hvp=lambda x, v: dtype(factor) * x * v,
        )

    differences = {"jvp", "jvp adjoint", "hvp", "hvp symmetry"}
    right = {o.method: o.passed for o in check(6).outcomes if o.method in differences}
    assert right == dict.fromkeys(differences, True)
    assert not {o.method: o.passed for o in check(5.9).outcomes}["hvp"]
