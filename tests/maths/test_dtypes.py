"""The textbook keeps the dtype of its inputs, and takes complex ones where it is analytic."""

import numpy as np
import pytest

from npstyle import maths

FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
MEAN, SCALE = (103.939, 116.779, 123.68), (1.0, 0.5, 2.0)


def results(rng, dtype):
    """Results of every function that takes an array, for inputs of one dtype."""
    x, P, g = (rng.standard_normal((4, 6, 3)).astype(dtype) for _ in range(3))
    k, b = (rng.standard_normal(shape).astype(dtype) for shape in [(3, 3, 3, 2), (2,)])
    w = rng.uniform(0, 1, (4, 6)).astype(dtype)
    Z, half, A = maths.conv2d(x, k, b, 1, 1), maths.avg_pool2d(g), maths.mean_gram(P)
    at_kernel, at_bias = maths.conv2d_backward_weights(Z, x, (3, 3), 1, 1)
    return {
        "conv2d": Z,
        "conv2d_backward": maths.conv2d_backward(Z, k, x.shape, 1, 1),
        "conv2d_backward_weights": at_kernel,
        "bias": at_bias,
        "relu": maths.relu(x),
        "relu_backward": maths.relu_backward(g, maths.relu(x)),
        "avg_pool2d": half,
        "avg_pool2d_backward": maths.avg_pool2d_backward(half, x.shape),
        "max_pool2d": maths.max_pool2d(x),
        "max_pool2d_backward": maths.max_pool2d_backward(half, x),
        "l2_pool2d": maths.l2_pool2d(x),
        "l2_pool2d_backward": maths.l2_pool2d_backward(half, x),
        "zero_pad": maths.zero_pad(x, 1),
        "zero_pad_backward": maths.zero_pad_backward(x, 1),
        "replicate_pad": maths.replicate_pad(x, 1),
        "replicate_pad_backward": maths.replicate_pad_backward(x, 1),
        "gram": maths.gram(x),
        "gram_backward": maths.gram_backward(A, x),
        "mean_gram": A,
        "mean_gram_backward": maths.mean_gram_backward(A, x),
        "guided": maths.mean_gram_backward(A, x, w),
        "content_loss": maths.content_loss(x, P),
        "content_loss_backward": maths.content_loss_backward(x, P),
        "style_loss": maths.style_loss(x, A),
        "style_loss_backward": maths.style_loss_backward(x, A),
        "total_variation": maths.total_variation(x),
        "total_variation_backward": maths.total_variation_backward(x),
        "checkerboard_loss": maths.checkerboard_loss(x, 2, 4),
        "checkerboard_loss_backward": maths.checkerboard_loss_backward(x, 2, 4),
        "reflect_pad": maths.reflect_pad(x, 1),
        "reflect_pad_backward": maths.reflect_pad_backward(x, 1),
        "depthwise_conv2d": maths.depthwise_conv2d(x, k[..., 0], x[0, 0], 1, 1),
        "depthwise_conv2d_backward": maths.depthwise_conv2d_backward(g, k[..., 0], x.shape, 1, 1),
        "depthwise_conv2d_backward_weights": maths.depthwise_conv2d_backward_weights(
            g, x, (3, 3), 1, 1
        )[0],
        "relu6": maths.relu6(x),
        "relu6_backward": maths.relu6_backward(g, maths.relu6(x)),
        "global_avg_pool": maths.global_avg_pool(x),
        "global_avg_pool_backward": maths.global_avg_pool_backward(g[:1, :1], x.shape),
        "instance_norm": maths.instance_norm(x, P[0, 0], P[0, 1]),
        "instance_norm_backward": maths.instance_norm_backward(g, x, P[0, 0]),
        "instance_norm_backward_weights": maths.instance_norm_backward_weights(g, x)[0],
        "upsample": maths.upsample(x, 2),
        "upsample_backward": maths.upsample_backward(g, 2),
        "sigmoid": maths.sigmoid(x),
        "sigmoid_backward": maths.sigmoid_backward(g, maths.sigmoid(x)),
        "mirror": maths.mirror(x),
        "mirror_backward": maths.mirror_backward(g, x),
    }


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_dtype_of_the_inputs_is_kept(rng, dtype):
    for name, result in results(rng, dtype).items():
        assert result.dtype == dtype, name


@pytest.mark.parametrize("dtype", FLOATS)
def test_preprocessing_computes_in_float64_or_better(rng, dtype):
    x = rng.uniform(0, 255, (4, 6, 3)).astype(dtype)
    z = maths.preprocess(x, "BGR", MEAN, SCALE)
    assert z.dtype == maths.preprocess_backward(x, "BGR", SCALE).dtype
    assert z.dtype == np.result_type(dtype, np.float64)


def test_lower_precision_gives_the_same_numbers_up_to_its_rounding():
    exact = results(np.random.default_rng(3), np.float64)
    single = results(np.random.default_rng(3), np.float32)
    for name, value in exact.items():
        assert np.allclose(single[name], value, rtol=1e-4, atol=1e-4), name


def analytic(rng):
    """Scalar functions of one array with their gradients, all analytic."""
    k, g, A = (rng.standard_normal(s) for s in [(3, 3, 3, 2), (4, 6, 2), (3, 3)])
    half, P, w = (rng.standard_normal(s) for s in [(2, 3, 3), (4, 6, 3), (4, 6)])
    padded = rng.standard_normal((6, 8, 3))
    m = maths
    return {
        "conv2d": (
            lambda x: np.sum(g * m.conv2d(x, k, None, 1, 1)),
            lambda x: m.conv2d_backward(g, k, x.shape, 1, 1),
        ),
        "avg_pool2d": (
            lambda x: np.sum(half * m.avg_pool2d(x)),
            lambda x: m.avg_pool2d_backward(half, x.shape),
        ),
        "l2_pool2d": (
            lambda x: np.sum(half * m.l2_pool2d(x)),
            lambda x: m.l2_pool2d_backward(half, x),
        ),
        "zero_pad": (
            lambda x: np.sum(padded * m.zero_pad(x, 1)),
            lambda x: m.zero_pad_backward(padded, 1),
        ),
        "replicate_pad": (
            lambda x: np.sum(padded * m.replicate_pad(x, 1)),
            lambda x: m.replicate_pad_backward(padded, 1),
        ),
        "gram": (lambda x: np.sum(A * m.gram(x, w)), lambda x: m.gram_backward(A, x, w)),
        "mean_gram": (
            lambda x: np.sum(A * m.mean_gram(x)),
            lambda x: m.mean_gram_backward(A, x),
        ),
        "content_loss": (
            lambda x: m.content_loss(x, P),
            lambda x: m.content_loss_backward(x, P),
        ),
        "style_loss": (
            lambda x: m.style_loss(x, m.mean_gram(P)),
            lambda x: m.style_loss_backward(x, m.mean_gram(P)),
        ),
        "total_variation": (m.total_variation, m.total_variation_backward),
        "checkerboard_loss": (
            lambda x: m.checkerboard_loss(x, 2, 4),
            lambda x: m.checkerboard_loss_backward(x, 2, 4),
        ),
        "preprocess": (
            lambda x: np.sum(P * m.preprocess(x, "BGR", MEAN, SCALE)),
            lambda x: m.preprocess_backward(P, "BGR", SCALE),
        ),
    }


@pytest.mark.parametrize("name", analytic(np.random.default_rng(0)))
def test_the_complex_step_gives_the_derivative_to_rounding(rng, name):
    function, gradient = analytic(rng)[name]
    x, v = rng.standard_normal((2, 4, 6, 3))
    numeric = np.imag(function(x + 1e-30j * v)) / 1e-30
    g = gradient(x)
    assert abs(numeric - np.sum(g * v)) <= 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)
