"""A whole evaluation by the CUDA kernels, run on the CPU, agrees with the objective in float64.

The kernels run in the order of an evaluation, from the pixels to the loss and the gradient at the
pixels; NumPy's matrix products replace cuBLAS's. The test shows that the kernels fit together, and
bounds the error of the whole: 1e-5 in float32 and 3e-3 on tensor cores.
"""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.cpu import transform_filters
from npstyle.engine.cuda import launch as cuda
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.maths import Conv, total_variation_backward
from tests.engine.cuda import shim
from tests.engine.cuda.routes import tensor_conv, winograd
from tests.engine.cuda.shim import Out, run

pytestmark = pytest.mark.skipif(shim.GXX is None, reason=shim.REASON)


def forward_conv(image, layer, route):
    """A 3x3 convolution with its bias and ReLU."""
    filters = layer.kernel.shape[3]
    if route == "float32":
        given = ("winograd_to_tiles", (image,), transform_filters(layer.kernel), layer.bias)
        return winograd(*given, image.shape, filters, rectify=1)
    return tensor_conv(image, layer.kernel, route, bias=layer.bias, rectify=1)


def backward_conv(upstream, layer, route, activation, pooling):
    """The derivative of a 3x3 convolution, its ReLU, and an average pooling after it."""
    channels = layer.kernel.shape[2]
    if route == "float32":
        given = (upstream, None, activation, pooling)
        U = transform_filters(layer.kernel)
        name, shape = "winograd_to_tiles_backward", activation.shape
        return winograd(name, given, U, None, shape, channels, flipped=1)
    # A power of two that brings the largest value near 1: fp16 has no small numbers.
    scale = 2.0 ** -np.floor(np.log2(np.abs(upstream).max()))
    mask = (activation > 0).astype(np.uint8)
    options = {"mask": mask, "pooling": pooling, "flipped": 1, "scale": scale}
    return tensor_conv(upstream, layer.kernel, route, shape=activation.shape, **options)


def squares(a, b, factor):
    launch = cuda.reduction("squares_float32", a.size)
    partial = run(launch, a, b, Out(launch.grid[0], np.float64), a.size)
    return run(cuda.TOTAL, partial, Out(1, np.float64), partial.size, factor)[0]


def style(F, target, beta, out):
    """The weighted style loss, and its derivative added to `out`."""
    height, width, N = F.shape
    matrix = F.reshape(-1, N)
    gram = matrix.T @ matrix / np.float32(height * width)
    loss = beta * squares(gram, target, 1 / (4 * N**2))
    factor = beta / (2 * N**2 * height * width)
    launch = cuda.elementwise("style_slope_float32", gram.size)
    slope = run(launch, gram, target, factor, Out(gram.shape), N)
    launch = cuda.elementwise("gram_backward_float32", F.size)
    product = (matrix @ slope).reshape(F.shape)
    written = Out(F.shape, initial=out)
    return loss, run(launch, product, None, written, height * width, N, 1)


def content(F, target, alpha):
    launch = cuda.elementwise("content_backward_float32", F.size)
    gradient = run(launch, F, target, alpha, Out(F.shape), 0, F.size)
    return alpha * squares(F, target, 0.5), gradient


def evaluate(objective, pixels, route):
    """The weighted terms and the gradient, as by `StyleObjective.__call__`."""
    network, layers = objective.bound.network, objective.bound.layers
    first, second, third = (layer for layer in layers if isinstance(layer, Conv))
    height, width, count = *pixels.shape[:2], pixels.shape[0] * pixels.shape[1]
    bgr = int(network.channel_order == "BGR")
    style_name, deep = objective.beta
    target = objective.style_targets[0]

    launch = cuda.elementwise("preprocess_float32", count)
    colours = (*network.mean, *network.scale)
    image = run(launch, pixels, Out(pixels.shape), count, bgr, *colours)
    N = first.kernel.shape[3]
    geometry = (height, width, 3, N, 3, 3, 1, 1, height, width)
    launch = cuda.conv2d("float32", height, width, N)
    F1 = run(launch, image, first.kernel, first.bias, Out((height, width, N)), *geometry, 1)
    F2 = forward_conv(F1, second, route)
    pooled = (height // 2, width // 2, F2.shape[2])
    launch = cuda.rows("avg_pool2d_float32", pooled[0], pooled[1] * pooled[2])
    P = run(launch, F2, Out(pooled), *F2.shape, 2, 2, *pooled[:2])
    F3 = forward_conv(P, third, route)

    content_value, gradient = content(F3, objective.content_targets[deep], objective.alpha[deep])
    deep_value, gradient = style(F3, target[deep], objective.beta[deep], gradient)
    gradient = backward_conv(gradient, third, route, F3, 1)
    gradient = backward_conv(gradient, second, route, F2, 2)
    shallow_value, gradient = style(F1, target[style_name], objective.beta[style_name], gradient)
    launch = cuda.conv2d_backward("float32", height, width, 3)
    gradient = run(launch, gradient, first.kernel, None, F1, Out(image.shape), *geometry)

    launch = cuda.elementwise("preprocess_backward_float32", count)
    gradient = run(launch, gradient, Out(pixels.shape, np.float64), count, bgr, *network.scale)
    launch = cuda.reduction("tv_float64", pixels.size)
    partial = run(launch, pixels, Out(launch.grid[0], np.float64), *pixels.shape)
    tv = run(cuda.TOTAL, partial, Out(1, np.float64), partial.size, objective.losses.tv_weight)[0]
    launch = cuda.elementwise("tv_backward_float64", pixels.size)
    factor = objective.losses.tv_weight
    written = Out(pixels.shape, np.float64, initial=gradient)
    gradient = run(launch, pixels, factor, written, *pixels.shape, 1)
    values = {f"content {deep}": content_value, f"style {deep}": deep_value}
    return values | {f"style {style_name}": shallow_value, "tv": tv}, gradient


@pytest.mark.parametrize(
    ("route", "tolerance"), [("float32", 1e-5), ("tf32", 3e-3), ("fp16", 3e-3)]
)
def test_loss_and_gradient_agree_with_the_objective(rng, small_network, route, tolerance):
    photo, painting, pixels = (rng.uniform(0, 255, (15, 18, 3)) for _ in range(3))
    settings = {
        "content_layers": {"conv2_1": 1.0},
        # conv1_1's gradient is large; its small weight keeps it from hiding the deeper layers'.
        "style_layers": {"conv1_1": 0.01, "conv2_1": 1.0},
    }

    def objective(dtype, tv_weight):
        layers = tuple(
            replace(layer, kernel=layer.kernel.astype(dtype), bias=layer.bias.astype(dtype))
            if isinstance(layer, Conv)
            else layer
            for layer in small_network.layers
        )
        bound = bind(replace(small_network, layers=layers))
        return StyleObjective(bound, photo, painting, Losses(**settings, tv_weight=tv_weight))

    # The total variation of noise is huge, and in float64; a small weight keeps it from hiding the
    # network's part.
    network_part = np.linalg.norm(objective(np.float64, 0.0)(pixels).gradient)
    tv_weight = network_part / np.linalg.norm(total_variation_backward(pixels))
    expected = objective(np.float64, tv_weight)(pixels)
    parts, gradient = evaluate(objective(np.float32, tv_weight), pixels, route)
    # Compared with the network's part alone: total variation is exact here, and as large.
    assert np.linalg.norm(gradient - expected.gradient) < tolerance * network_part
    tv = expected.parts["tv"]
    assert sum(parts.values()) - tv == pytest.approx(expected.loss - tv, rel=tolerance)
    if route == "float32":
        # (In tf32 a single style term can differ more: it squares a small difference of large G's.)
        assert parts == pytest.approx(expected.parts, rel=tolerance)
