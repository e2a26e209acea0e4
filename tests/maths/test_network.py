"""A network forward and backward, and the whole objective."""

import numpy as np
import pytest

from npstyle.maths import (
    ContentTerm,
    Conv,
    Pool,
    Preprocessing,
    Relu,
    StyleTerm,
    avg_pool2d,
    backward,
    content_loss,
    conv2d,
    forward,
    mean_gram,
    objective,
    preprocess,
    relu,
    replicate_pad,
    style_loss,
    total_variation,
)
from tests.numeric import central_difference


def build(rng, mode="avg", padding_mode="zero"):
    def conv(name, channels, filters, padding_mode="zero"):
        kernel = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        return Conv(name, kernel, rng.normal(0, 0.3, filters), 1, 1, padding_mode)

    return [
        conv("conv1", 3, 4, padding_mode),
        Relu("relu1"),
        Pool("pool", 2, 2, mode),
        conv("conv2", 4, 5),
        Relu("relu2"),
    ]


def test_forward_composes_the_layers_and_names_every_output(rng):
    layers = build(rng)
    X = rng.standard_normal((6, 7, 3))
    outputs = forward(layers, X)
    assert list(outputs) == ["image", "conv1", "relu1", "pool", "conv2", "relu2"]
    first, second = layers[0], layers[3]
    pooled = avg_pool2d(relu(conv2d(X, first.kernel, first.bias, 1, 1)), 2, 2)
    expected = relu(conv2d(pooled, second.kernel, second.bias, 1, 1))
    assert np.array_equal(outputs["relu2"], expected)
    assert outputs["image"] is X


def test_replicate_padding_of_a_layer_pads_its_input(rng):
    layers = build(rng, padding_mode="replicate")
    X = rng.standard_normal((6, 7, 3))
    expected = conv2d(replicate_pad(X, 1), layers[0].kernel, layers[0].bias)
    assert np.array_equal(forward(layers, X)["conv1"], expected)


@pytest.mark.parametrize("mode", ["avg", "max", "l2"])
@pytest.mark.parametrize("padding_mode", ["zero", "replicate"])
@pytest.mark.parametrize("names", [("relu2",), ("relu1", "relu2"), ("conv1", "pool")])
def test_backward_equals_central_differences(rng, mode, padding_mode, names):
    layers = build(rng, mode, padding_mode)
    X = rng.standard_normal((5, 6, 3))
    outputs = forward(layers, X)
    g = {name: rng.standard_normal(outputs[name].shape) for name in names}

    def loss(X):
        found = forward(layers, X)
        return sum(np.sum(g[name] * found[name]) for name in names)

    numeric = central_difference(loss, X)
    assert np.allclose(backward(layers, outputs, g), numeric, rtol=0, atol=1e-6)


def test_gradients_at_no_layer_raise_an_error(rng):
    layers = build(rng)
    outputs = forward(layers, rng.standard_normal((5, 6, 3)))
    with pytest.raises(ValueError, match="no layer of the network is called conv9"):
        backward(layers, outputs, {"conv9": np.zeros(1)})


def test_the_objective_is_the_sum_of_its_terms_and_its_gradient_equals_differences(rng):
    layers = build(rng)
    prep = Preprocessing("BGR", (103.939, 116.779, 123.68), (0.02, 0.03, 0.02))
    photo, painting, x = (rng.uniform(0, 255, (6, 7, 3)) for _ in range(3))

    def activations(pixels):
        return forward(layers, preprocess(pixels, "BGR", prep.mean, prep.scale))

    P = activations(photo)["relu2"]
    A1, A2 = (mean_gram(activations(painting)[name]) for name in ("relu1", "relu2"))
    w = rng.uniform(0, 1, (3, 3))
    w /= w.sum()
    terms = [
        ContentTerm("relu2", 3.0, P),
        StyleTerm("relu1", 50.0, A1),
        StyleTerm("relu2", 70.0, A2, w),
    ]
    loss, gradient = objective(x, layers, prep, terms, 1e-3)
    F = activations(x)
    expected = (
        3.0 * content_loss(F["relu2"], P)
        + 50.0 * style_loss(F["relu1"], A1)
        + 70.0 * style_loss(F["relu2"], A2, w)
        + 1e-3 * total_variation(x)
    )
    assert loss == pytest.approx(expected, rel=1e-13)
    numeric = central_difference(lambda x: objective(x, layers, prep, terms, 1e-3)[0], x, 1e-4)
    assert np.allclose(gradient, numeric, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


def test_a_layer_with_content_and_style_adds_both_gradients(rng):
    layers = build(rng)
    prep = Preprocessing("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    x = rng.standard_normal((6, 7, 3))
    F = forward(layers, x)["relu2"]
    content = ContentTerm("relu2", 2.0, np.zeros_like(F))
    style = StyleTerm("relu2", 3.0, np.eye(5))
    both = objective(x, layers, prep, [content, style])[1]
    apart = [objective(x, layers, prep, [term])[1] for term in (content, style)]
    assert np.allclose(both, sum(apart), rtol=1e-12)
