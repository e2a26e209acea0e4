"""The functions of networks that paint in one pass equal their formulas."""

import numpy as np
import pytest

from npstyle import maths
from npstyle.maths.layers import Add, Conv, InstanceNorm, Relu
from tests.numeric import central_difference


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_reflection_is_that_of_numpy(rng, padding):
    x = rng.standard_normal((4, 6, 3))
    sides = (padding, padding)
    assert np.array_equal(
        maths.reflect_pad(x, padding), np.pad(x, (*[sides] * 2, (0, 0)), "reflect")
    )


def test_an_image_too_small_to_be_reflected_is_refused():
    with pytest.raises(ValueError, match="4x9 is too small to be mirrored by 4"):
        maths.reflect_pad(np.zeros((4, 9, 3)), 4)


def test_zero_padding_may_differ_before_and_after(rng):
    x = rng.standard_normal((4, 6, 3))
    padded = maths.zero_pad(x, 1, 2)
    assert padded.shape == (7, 9, 3)
    assert np.array_equal(padded[1:5, 1:7], x)
    assert np.sum(np.abs(padded)) == pytest.approx(np.sum(np.abs(x)))
    assert np.array_equal(maths.zero_pad_backward(padded, 1, 2), x)


@pytest.mark.parametrize(("size", "stride", "padding"), [((3, 3), 1, 1), ((3, 2), 2, 1)])
def test_depthwise_convolution_is_a_convolution_with_a_diagonal_kernel(rng, size, stride, padding):
    x, k, b = (rng.standard_normal(shape) for shape in [(6, 7, 3), (*size, 3), (3,)])
    dense, way = k[..., None] * np.eye(3), (stride, padding)
    Z = maths.conv2d(x, dense, b, *way)
    assert np.allclose(maths.depthwise_conv2d(x, k, b, *way), Z)
    g = rng.standard_normal(Z.shape)
    at_image = maths.depthwise_conv2d_backward(g, k, x.shape, *way)
    assert np.allclose(at_image, maths.conv2d_backward(g, dense, x.shape, *way))
    at_kernel, at_bias = maths.depthwise_conv2d_backward_weights(g, x, size, *way)
    of_dense = maths.conv2d_backward_weights(g, x, size, *way)
    assert np.allclose(at_kernel, np.diagonal(of_dense[0], axis1=2, axis2=3))
    assert np.allclose(at_bias, of_dense[1])


def test_every_channel_gets_the_mean_and_the_deviation_that_are_asked_for(rng):
    x = rng.normal(40, 7, (9, 8, 3))
    scale, shift = np.array([1.0, -2.0, 0.5]), np.array([0.0, 3.0, -1.0])
    y = maths.instance_norm(x, scale, shift, epsilon=0)
    assert np.allclose(y.mean(axis=(0, 1)), shift)
    assert np.allclose(y.std(axis=(0, 1)), np.abs(scale))


def test_a_constant_channel_becomes_its_shift():
    y = maths.instance_norm(np.full((4, 5, 2), 7.0), np.ones(2), np.array([1.0, 2.0]))
    assert np.array_equal(y, np.broadcast_to([1.0, 2.0], (4, 5, 2)))


def test_upsampling_repeats_pixels(rng):
    x = rng.standard_normal((2, 3, 1))
    assert np.array_equal(maths.upsample(x, 3)[..., 0], np.kron(x[..., 0], np.ones((3, 3))))


def test_relu6_and_sigmoid_are_bounded():
    z = np.array([-1e4, -1.0, 0.0, 5.0, 7.0, 1e4])
    assert np.array_equal(maths.relu6(z), [0, 0, 0, 5, 6, 6])
    with np.errstate(all="raise"):
        assert np.allclose(
            maths.sigmoid(z), [0, 1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-5)), 1, 1], atol=1e-3
        )


def test_the_mean_over_all_positions_is_the_pooling_with_one_window(rng):
    x = rng.standard_normal((4, 4, 3))
    assert np.allclose(maths.global_avg_pool(x), maths.avg_pool2d(x, 4))
    g = rng.standard_normal((1, 1, 3))
    expected = maths.avg_pool2d_backward(g, x.shape, 4)
    assert np.allclose(maths.global_avg_pool_backward(g, x.shape), expected)


def residual_block(rng):
    return [
        Conv("conv1", rng.standard_normal((3, 3, 2, 2)), np.zeros(2), 1, 1, "reflect"),
        InstanceNorm("norm", rng.standard_normal(2), rng.standard_normal(2)),
        Relu("relu"),
        Add("sum", "image"),
    ]


def test_a_residual_sum_adds_the_named_output(rng):
    layers, x = residual_block(rng), rng.standard_normal((5, 6, 2))
    outputs = maths.forward(layers, x)
    assert np.allclose(outputs["sum"], x + outputs["relu"])


def test_the_gradient_passes_a_residual_sum_on_both_ways(rng):
    layers, x = residual_block(rng), rng.standard_normal((5, 6, 2))
    outputs = maths.forward(layers, x)
    g = rng.standard_normal(outputs["sum"].shape)
    arriving = maths.backward_everywhere(layers, outputs, {"sum": g})
    assert np.array_equal(arriving["relu"], g)
    numeric = central_difference(lambda x: np.sum(g * maths.forward(layers, x)["sum"]), x)
    assert np.allclose(arriving["image"], numeric, rtol=0, atol=1e-6)


def test_layers_that_no_loss_depends_on_have_no_weight_gradient(rng):
    layers, x = residual_block(rng), rng.standard_normal((5, 6, 2))
    outputs = maths.forward(layers, x)
    at = maths.backward_everywhere(layers, outputs, {"conv1": outputs["conv1"]})
    assert set(maths.backward_weights(layers, outputs, at)) == {"conv1"}


def test_a_code_of_one_style_selects_its_column(rng):
    A, B = rng.standard_normal((2, 3, 5))
    norm = maths.ConditionalNorm("norm", A, np.zeros(3), B, np.zeros(3))
    (plain,) = maths.conditioned([norm], np.eye(5)[2])
    assert np.array_equal(plain.scale, A[:, 2])
    assert np.array_equal(plain.shift, B[:, 2])
